"""Jobcoin on a whole stack: deposits and shared payouts while its node is killed repeatedly."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlmodel import select

from devnet.bulk import asset_of, csv_of, findings_of, finished, payments, run_paid
from devnet.people import ScriptedUser, enlist, insist
from devnet.reconcile import reconcile
from devnet.rich_minter import RichMinter
from devnet.stack import Stack
from domain.jobcoin.chain import ASSET as JOB
from domain.jobcoin.chain import UNIT_MINOR as JOB_UNIT
from domain.payouts import PayoutStatus
from infra.database import Database
from models.chain_transactions import ChainTransaction
from models.payouts import Payout
from tests.faults.depositors import Depositors

LINES, KILLS = 60, 6
DEPOSIT_MINOR = 40 * JOB_UNIT
PATIENCE_S = 60.0
POLL_S = 0.3


@pytest.fixture
async def payer(stack: Stack) -> AsyncIterator[ScriptedUser]:
    user = await enlist(stack.site, "jobcoin-payer")
    yield user
    user.api.__exit__()


class TestJobcoin:
    @pytest.mark.long
    @pytest.mark.timeout(240)
    async def test_is_credited_and_paid_out_once_while_its_node_is_killed(
        self, stack: Stack, payer: ScriptedUser
    ) -> None:
        killing = asyncio.create_task(_kill_the_node(stack))
        for number in range(3):
            await Depositors(stack.site).pay(payer, JOB, DEPOSIT_MINOR, key=f"job-{number}")
        await _until_credited(payer)
        asset = await asset_of(stack.site, JOB)
        paid = payments(asset, LINES, name="jobcoin", least_minor=JOB_UNIT)
        (alone,) = payments(asset, 1, name="alone", least_minor=JOB_UNIT)
        body = {"asset": JOB, "amount": str(JOB_UNIT), "destination": alone.destination}
        await asyncio.to_thread(payer.ask_payout, body, idempotency_key="job-alone")
        run_id = await run_paid(payer, [], content=csv_of(asset, paid), name="jobcoin")
        counts = await finished(stack.site, run_id, patience_s=PATIENCE_S)
        await killing

        await _until_arrived(stack, alone.destination, JOB_UNIT)

        assert counts == {PayoutStatus.SETTLED: LINES}
        found = await findings_of(stack.site, asset, paid)
        assert found.is_clean, found
        assert await _transactions_of(stack, run_id) < LINES // 2
        await _until_reconciled(stack)


async def _kill_the_node(stack: Stack) -> None:
    """Kill it, start it again when it is gone, and wait until it has made a block or two."""
    node, minter = stack.process("jobcoin"), RichMinter.of(stack.site)
    for _ in range(KILLS):
        node.kill()
        await node.wait()
        await node.restart_until_ready()
        await _until_height(minter, await minter.height() + 2)


async def _until_height(minter: RichMinter, height: int) -> None:
    while True:
        if await minter.height() >= height:
            return
        await asyncio.sleep(POLL_S)


async def _until_arrived(stack: Stack, address: str, amount_minor: int) -> None:
    minter = RichMinter.of(stack.site)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await minter.balance_minor(address) == amount_minor:
                return
            await asyncio.sleep(POLL_S)


async def _until_credited(payer: ScriptedUser) -> None:
    """Wait for the deposits; a mint whose answer was lost may have been made once more."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            wallet = await asyncio.to_thread(insist, lambda: payer.api.get("/v1/wallets"))
            owned = sum(int(b["available"]) for b in wallet["balances"] if b["asset"] == JOB)
            if owned >= 3 * DEPOSIT_MINOR:
                return
            await asyncio.sleep(POLL_S)


async def _transactions_of(stack: Stack, run_id: str) -> int:
    query = (
        select(ChainTransaction.id)
        .join(Payout, Payout.chain_transaction_id == ChainTransaction.id)  # type: ignore[arg-type]
        .where(Payout.run_id == run_id)
        .distinct()
    )
    database = Database(stack.site.database_url())
    async with database.transaction() as session:
        found = (await session.exec(query)).all()
    await database.close()
    return len(found)


async def _until_reconciled(stack: Stack) -> None:
    """Wait for the last bookings; a stack with something wrong runs into the timeout."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            checks = (await reconcile(stack.site)).assets
            if all(check.is_right for check in checks if check.asset == JOB):
                return
            await asyncio.sleep(POLL_S)
