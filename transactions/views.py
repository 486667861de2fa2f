"""The views of the transaction unit, as queries name them; see migrations 0024 and 0025."""

from typing import Any

from sqlalchemy import DateTime, Numeric, String, column, table

WALLET_TRANSACTION = table(
    "wallet_transaction",
    *(
        column(name, String)
        for name in (
            "id",
            "user_id",
            "kind",
            "direction",
            "status",
            "state",
            "asset",
            "counterparty",
            "chain_id",
            "group_id",
            "note",
            "chain_transaction_id",
            "txid",
            "to_asset",
        )
    ),
    column("amount_minor", Numeric(78, 0)),
    column("fee_minor", Numeric(78, 0)),
    column("to_amount_minor", Numeric(78, 0)),
    column("created_at", DateTime(timezone=True)),
    column("updated_at", DateTime(timezone=True)),
)

WALLET_TRANSACTION_EVENT: Any = table(
    "wallet_transaction_event",
    column("transaction_id", String),
    column("sequence"),
    column("status", String),
    column("detail", String),
    column("at", DateTime(timezone=True)),
)
