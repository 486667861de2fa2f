"""
The steps of one deposit: book it when it is deep enough, take it back when the chain did.

The watcher says where a deposit lies on the chain; here that becomes money, one unit of work at a
time, each of which may be repeated.
"""

import logging
from collections.abc import Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.depth import Depth, depth_of
from deposits.freezes import freeze, thaw
from deposits.history import move
from deposits.mixed import mix_of
from deposits.purchased import purchase_of
from domain.clock import Clock
from domain.deposits import DepositStanding, DepositStatus
from infra.database import Database
from ledger import chart, rules
from ledger.posting import Posting
from ledger.service import Ledger
from models.chain_transactions import ChainHead
from models.deposits import AddressPurpose, ChainAddress, ChainDeposit
from models.wallets import Chain

logger = logging.getLogger(__name__)


class PostgresDepositDesk:
    """``domain.ports.DepositDesk`` on PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take the database as the worker's role."""
        self._database = database
        self._clock = clock

    async def advance(self, deposit_id: str) -> DepositStanding:
        """Do what the chain now asks for, once, and say where the deposit stands."""
        async with self._database.transaction() as session:
            deposit = await session.get_one(ChainDeposit, deposit_id, with_for_update=True)
            chain = await session.get_one(Chain, deposit.chain_id)
            head = await session.get(ChainHead, deposit.chain_id)
            depth = depth_of(deposit, chain, head)
            if deposit.is_booked and deposit.missing_since is not None:
                await self._reverse(session, deposit)
            elif not deposit.is_booked and deposit.asset is not None and depth.is_enough:
                await self._credit(session, deposit)
            purchase_id = await purchase_of(session, deposit)
            mix = await mix_of(session, deposit)
            return _standing(deposit, depth, purchase_id=purchase_id, mix=mix)

    async def _credit(self, session: AsyncSession, deposit: ChainDeposit) -> None:
        deposit.credits += 1
        deposit.is_booked = True
        deposit.credited_at = self._clock.now()
        detail = None if deposit.credits == 1 else "came back after a reorg"
        move(session, deposit, DepositStatus.CREDITED, clock=self._clock, detail=detail)
        await thaw(session, deposit, clock=self._clock)
        await session.flush()
        posting = await _posting(session, rules.deposit_credit, deposit, self._clock)
        await Ledger.post_in(session, [posting])

    async def _reverse(self, session: AsyncSession, deposit: ChainDeposit) -> None:
        logger.error("deposit %s was credited and has left the chain", deposit.id)
        deposit.is_booked = False
        deposit.missing_since = None
        move(session, deposit, DepositStatus.REVERSED, clock=self._clock, detail="left the chain")
        if deposit.reason_code is None:
            await freeze(session, deposit, clock=self._clock)
        await session.flush()
        posting = await _posting(session, rules.deposit_reversal, deposit, self._clock)
        await Ledger.post_in(session, [posting])


async def _posting(
    session: AsyncSession, rule: Callable[..., Posting], deposit: ChainDeposit, clock: Clock
) -> Posting:
    address = await session.get_one(ChainAddress, deposit.address_id)
    is_pocket = address.purpose == AddressPurpose.POCKET
    return rule(
        deposit_id=deposit.id,
        credit=deposit.credits,
        target=await _target(session, deposit, is_pocket=is_pocket),
        chain_id=deposit.chain_id,
        asset=str(deposit.asset),
        amount_minor=deposit.amount_minor,
        at=clock.now(),
        is_pocket=is_pocket,
    )


async def _target(session: AsyncSession, deposit: ChainDeposit, *, is_pocket: bool) -> str:
    """Return whose it is: what a purchase or a mix waits for is nobody's balance before."""
    if deposit.reason_code is not None:
        return chart.UNCLAIMED
    if is_pocket:
        return chart.onchain(deposit.user_id, deposit.chain_id)
    if await purchase_of(session, deposit) is not None:
        return chart.purchase_clearing(deposit.chain_id)
    if (mix := await mix_of(session, deposit)) is not None:
        return chart.mix_owed(mix[0])
    return chart.available(deposit.user_id)


def _standing(
    deposit: ChainDeposit,
    depth: Depth,
    *,
    purchase_id: str | None,
    mix: tuple[str, str] | None,
) -> DepositStanding:
    is_waiting = (
        not deposit.is_booked
        and deposit.asset is not None
        and (deposit.block_height is not None or deposit.status == DepositStatus.SEEN)
    )
    return DepositStanding(
        deposit_id=deposit.id,
        status=DepositStatus(deposit.status),
        amount=str(deposit.amount_minor),
        asset=deposit.asset,
        confirmations=depth.confirmations,
        confirmations_required=deposit.confirmations_required,
        is_waiting=is_waiting,
        purchase_id=purchase_id,
        mix_id=mix[0] if mix else None,
        mix_queue=mix[1] if mix else None,
    )
