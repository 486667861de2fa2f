"""By which rules which balances may fall below zero: several migrations say it anew."""

import pytest
from sqlalchemy import text

from infra.database import Database

AVAILABLE, ONCHAIN = "user:usr_1:available", "user:usr_1:onchain:eip155:1"
STOCK = "conversions:stock"


@pytest.mark.parametrize(
    ("rule", "account", "may"),
    [
        ("deposit_reversal", AVAILABLE, True),
        ("purchase_clawback", AVAILABLE, True),
        ("mix_clawback", AVAILABLE, True),
        ("pocket_fix", ONCHAIN, True),
        ("pocket_fix", STOCK, True),
        ("mix_dole", AVAILABLE, False),
        ("mix_refund", AVAILABLE, False),
        ("mix_clawback", STOCK, False),
        ("deposit_reversal", "user:usr_1:held", False),
        ("payout_freeze", AVAILABLE, False),
    ],
)
async def test_only_what_is_taken_back_leaves_a_debt(
    database: Database, *, rule: str, account: str, may: bool
) -> None:
    async with database.transaction() as session:
        asked = text("SELECT ledger_is_clawback(:rule, :account)")
        found = await session.execute(asked, {"rule": rule, "account": account})
        assert found.scalar_one() is may
