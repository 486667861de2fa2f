"""What each process's database role may not do, whatever its code is talked into."""

import pytest
from sqlalchemy.exc import ProgrammingError

from infra.database import Database
from tests.support.books import Books, as_role

POST = (
    'SELECT ledger_post(\'[{"key": "k", "rule": "r", "resource": null, "hold": null,'
    ' "reverses": null, "effective_at": "2026-01-01T00:00:00Z",'
    ' "entries": [["a", "ETH", "-1"], ["b", "ETH", "1"]]}]\'::jsonb)'
)
KEYS = "SELECT encrypted_priv_key FROM blockchain_wallet"
TOTP_SECRETS = "SELECT sealed_secret FROM second_factor"
BOOKS = ("ledger_account", "ledger_transaction", "ledger_entry", "hold", "limit_counter")


async def run(url: str, role: str, statement: str) -> None:
    database = Database(as_role(url, role), pool_size=1)
    try:
        async with database.transaction() as session:
            await (await session.connection()).exec_driver_sql(statement)
    finally:
        await database.close()


REFUSED = [
    ("api", POST),
    ("api", KEYS),
    ("api", "SELECT raw FROM chain_attempt"),
    ("api", "UPDATE payout SET status = 'ready'"),
    ("api", "INSERT INTO approval_decision SELECT * FROM approval_decision"),
    ("api", "UPDATE chain_transaction SET status = 'confirmed'"),
    ("api", "SELECT audit_append('{x}', '{x}', '{x}')"),
    ("api", "UPDATE webhook_endpoint SET url = 'x'"),
    ("api", "UPDATE webhook_delivery SET status = 'delivered'"),
    ("api", "INSERT INTO webhook_attempt DEFAULT VALUES"),
    ("api", "UPDATE webhook_cursor SET seq = 1"),
    ("worker", "UPDATE webhook_endpoint SET url = 'x'"),
    ("worker", "UPDATE webhook_endpoint SET sealed_secret = 'x'"),
    ("worker", "INSERT INTO webhook_endpoint DEFAULT VALUES"),
    ("signer", "SELECT sealed_secret FROM webhook_endpoint"),
    ("signer", "SELECT data FROM outbox_event"),
    ("worker", KEYS),
    ("worker", TOTP_SECRETS),
    ("worker", "SELECT password_hash FROM app_user"),
    ("worker", "SELECT token_hash FROM user_session"),
    ("worker", "SELECT secret_hash FROM api_key"),
    ("worker", "UPDATE app_user SET roles = '{approver}'"),
    ("worker", "INSERT INTO policy (document, created_at) VALUES ('{}', now())"),
    ("worker", "UPDATE signer_ceiling SET per_hour_minor = 1"),
    ("worker", "UPDATE chain SET max_fee_ceiling_minor = 1"),
    ("worker", "UPDATE blockchain_wallet SET address = 'x'"),
    ("worker", "UPDATE chain_attempt SET raw = NULL"),
    ("worker", "UPDATE chain_attempt SET txid = NULL"),
    ("worker", "UPDATE chain_attempt SET exported_at = NULL"),
    ("worker", "SELECT audit_append('{x}', '{x}', '{x}')"),
    ("worker", "SELECT ledger_post_entries('[]'::jsonb)"),
    ("signer", POST),
    ("signer", TOTP_SECRETS),
    ("signer", "SELECT password_hash FROM app_user"),
    ("signer", "UPDATE payout SET status = 'ready'"),
    ("signer", "UPDATE chain_transaction SET amount_minor = 1"),
    ("signer", "UPDATE chain_transaction SET destination = 'x'"),
    ("signer", "INSERT INTO chain_attempt SELECT * FROM chain_attempt"),
    ("signer", "UPDATE chain_attempt SET max_fee_minor = 1"),
    ("signer", "INSERT INTO approval_decision SELECT * FROM approval_decision"),
    ("signer", "UPDATE signer_ceiling SET per_hour_minor = 1"),
    *(
        (role, statement)
        for role in ("api", "worker", "signer")
        for table in (*BOOKS, "audit_chain", "approval_decision", "policy", "payout_event")
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}")  # noqa: S608
    ),
    *(
        (role, f"UPDATE {table} SET asset = 'x'")  # noqa: S608
        for role in ("api", "worker", "signer")
        for table in ("ledger_account", "ledger_entry", "hold")
    ),
    *((role, "CREATE TABLE mine (id int)") for role in ("api", "worker", "signer")),
    *((role, "SET session_replication_role = replica") for role in ("api", "worker", "signer")),
]


class TestRole:
    async def test_is_refused_what_it_does_not_need(self, books: Books, database_url: str) -> None:
        del books
        allowed = []
        for role, statement in REFUSED:
            try:
                await run(database_url, role, statement)
            except ProgrammingError as error:
                if "permission denied" in str(error):
                    continue
            allowed.append((role, statement))
        assert allowed == []

    @pytest.mark.parametrize(
        ("role", "statement"),
        [
            ("worker", POST),
            ("signer", KEYS),
            ("api", TOTP_SECRETS),
            ("api", "SELECT * FROM ledger_entry"),
        ],
    )
    async def test_is_given_what_it_needs(
        self, books: Books, database_url: str, role: str, statement: str
    ) -> None:
        del books
        await run(database_url, role, statement)
