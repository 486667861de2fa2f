"""Alembic's environment: how migrations reach the database and what they compare it with."""

from alembic import context
from sqlalchemy import Connection, create_engine
from sqlmodel import SQLModel

from infra.settings import MigrationSettings
from models import (
    chain_transactions,
    deposits,
    events,
    identity,
    jobcoin,
    kyc,
    ledger,
    limits,
    mixing,
    payouts,
    purchases,
    runs,
    transfers,
    wallets,
    webhooks,
)

TABLES = (
    chain_transactions,
    deposits,
    events,
    identity,
    jobcoin,
    kyc,
    ledger,
    limits,
    mixing,
    payouts,
    purchases,
    runs,
    transfers,
    wallets,
    webhooks,
)

# Only the signer's role may read these columns, so no model maps them; see models.wallets.
UNMAPPED = {("blockchain_wallet", "encrypted_priv_key"), ("hd_account", "encrypted_seed")}


def _is_compared(item: object, name: str | None, kind: str, *_: object) -> bool:
    table = getattr(getattr(item, "table", None), "name", None)
    return not (kind == "column" and (table, name) in UNMAPPED)


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        include_object=_is_compared,
        compare_type=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    settings = MigrationSettings()
    url = settings.migration_database_url.get_secret_value()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as opened:
        _run(opened)
    engine.dispose()
