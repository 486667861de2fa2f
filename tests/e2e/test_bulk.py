"""Bulk payouts on a whole stack: three assets, each line paid once, books equal to the chains."""

from collections.abc import AsyncIterator

import pytest
from sqlmodel import col, select

from devnet.bootstrap import BTC, BTC_UNIT, ETHER, ETHER_UNIT, TOKEN, TOKEN_UNIT
from devnet.bulk import asset_of, csv_of, findings_of, finished, payments, run_paid
from devnet.funding import fund
from devnet.people import ScriptedUser, enlist
from devnet.stack import Stack
from domain.payouts import PayoutStatus
from infra.database import Database
from models.chain_transactions import ChainTransaction, ChainTransactionKind
from models.identity import Role
from models.payouts import Payout
from tests.e2e.settled import until_reconciled

LINES = 120
PATIENCE_S = 60.0
LEAST_MINOR = {ETHER: 2 * ETHER_UNIT // 1000, TOKEN: TOKEN_UNIT, BTC: 10_000}
"""So much that Ether and the token ask one approver, and Bitcoin none."""


@pytest.fixture
async def payer(stack: Stack) -> AsyncIterator[ScriptedUser]:
    user = await enlist(stack.site, "bulk-payer")
    shares = {user.user_id: ETHER_UNIT, None: ETHER_UNIT}
    await fund(stack.site, asset_code=ETHER, shares=shares)
    await fund(stack.site, asset_code=TOKEN, shares={user.user_id: 500 * TOKEN_UNIT})
    shares = {user.user_id: BTC_UNIT // 2, None: BTC_UNIT // 10}
    await fund(stack.site, asset_code=BTC, shares=shares)
    yield user
    user.api.__exit__()


class TestBulkPayouts:
    @pytest.mark.timeout(240)
    async def test_pay_every_line_once_with_few_chain_transactions(
        self, stack: Stack, payer: ScriptedUser
    ) -> None:
        approver = await enlist(stack.site, "bulk-approver", [Role.APPROVER])
        asked = {code: await asset_of(stack.site, code) for code in LEAST_MINOR}
        paid = {
            code: payments(asset, LINES, name=f"bulk {code}", least_minor=LEAST_MINOR[code])
            for code, asset in asked.items()
        }

        run_ids = {
            code: await run_paid(
                payer, [approver], content=csv_of(asset, paid[code]), name=f"bulk-{code}"
            )
            for code, asset in asked.items()
        }
        counts = [await finished(stack.site, r, patience_s=PATIENCE_S) for r in run_ids.values()]

        assert [{PayoutStatus.SETTLED: LINES}] * len(asked) == counts
        for code, asset in asked.items():
            found = await findings_of(stack.site, asset, paid[code])
            assert found.is_clean, found
            # A hundred fit into one on the EVM chain, two hundred on Bitcoin.
            assert await _transactions_of(stack, run_ids[code]) <= 2
        await until_reconciled(stack)
        assert await _allowances(stack) == 1


async def _transactions_of(stack: Stack, run_id: str) -> int:
    query = select(Payout.chain_transaction_id).where(Payout.run_id == run_id).distinct()
    database = Database(stack.site.database_url())
    async with database.transaction() as session:
        found = (await session.exec(query)).all()
    await database.close()
    return len(found)


async def _allowances(stack: Stack) -> int:
    """Return how many transactions let the disperse contract move the token: one is enough."""
    kind = ChainTransactionKind.TOKEN_APPROVAL
    database = Database(stack.site.database_url())
    async with database.transaction() as session:
        found = await session.exec(
            select(ChainTransaction.id).where(
                ChainTransaction.kind == kind, col(ChainTransaction.txid).is_not(None)
            )
        )
        ids = found.all()
    await database.close()
    return len(ids)
