"""
What leaves a pocket on an account chain (EVM): one chain transaction, paid with the pocket's key.

One at a time for each pocket. Where its user set no coin aside for the network, we lend it from the
hot wallet first, and the payment waits until that is confirmed.
"""

import logging
from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.payouts import PayoutStatus
from domain.pockets import PocketStanding, Route
from domain.ports import AccountOutlet, GasEstimate, Transfer
from infra.database import Database
from models.chain_transactions import ChainTransaction, ChainTransactionKind
from models.deposits import ChainAddress
from models.payouts import Payout
from models.wallets import Asset, Chain
from outgoing.ceilings import within_ceiling
from outgoing.held_back import held_back
from outgoing.own_batches import (
    add_batch,
    add_topup,
    add_transaction,
    busy_addresses,
    hot_address,
    is_topup_possible,
)
from outgoing.records import OPEN, locked_wallet
from payouts.history import locked_payout, move
from pockets.gas import RESERVE_FACTOR, lent_minor

BUSY_S = 15
"""How soon to look again after what is on its way from or to the pocket."""

HELD_BACK_S = 300
"""How soon to look again whether a freeze or a denial was lifted."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spend:
    """A transfer that a pocket is to pay, as the books have it."""

    payout: Payout
    pocket: ChainAddress
    asset: Asset
    chain: Chain
    lent_minor: int
    """Coin of ours on the pocket; below zero: what we owe to it."""


class AccountPocketSpender:
    """``domain.pocket_ports.PocketSpender`` for account chains."""

    def __init__(self, database: Database, outlet: AccountOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock

    async def advance(self, transfer_id: str) -> PocketStanding:
        """
        Plan the payment, or what it waits for, and return the batches that must be on their way.

        Raises:
            FeeAboveCeilingError, InsufficientGasFundsError, ChainUnavailableError: Not now.
        """
        async with self._database.transaction() as session:
            found = await look(session, transfer_id)
        if isinstance(found, PocketStanding):
            return found
        missing_minor = await self._missing_gas(found)
        if missing_minor > 0:
            return await self._lend(found, missing_minor)
        async with self._database.transaction() as session:
            hot = await hot_address(session, found.chain.id)
            destination = hot if found.payout.route == Route.REDEEM else found.payout.destination
            return await plan(session, found, destination, clock=self._clock)

    async def _missing_gas(self, spend: Spend) -> int:
        """Return how much coin the pocket lacks that is ours to give."""
        if spend.payout.gas_hold_id is not None:
            # Its user pays; only what a fee of ours took from them is missing.
            return -spend.lent_minor
        quote = within_ceiling(await self._outlet.quote_fee(), spend.chain)
        estimate = await self._estimate(spend)
        if estimate.gas_limit is None:
            # It would revert: planning its batch finds that out too, and refunds it.
            return 0
        return estimate.gas_limit * quote.max_fee_minor * RESERVE_FACTOR - spend.lent_minor

    async def _estimate(self, spend: Spend) -> GasEstimate:
        async with self._database.transaction() as session:
            hot = await hot_address(session, spend.chain.id)
        destination = hot if spend.payout.route == Route.REDEEM else spend.payout.destination
        transfer = Transfer(
            spend.pocket.address,
            destination,
            spend.payout.amount_minor,
            spend.asset.contract_address,
        )
        (estimate,) = await self._outlet.estimate_gas([transfer])
        return estimate

    async def _lend(self, spend: Spend, amount_minor: int) -> PocketStanding:
        address, chain = spend.pocket.address, spend.chain
        if not is_topup_possible(chain, amount_minor):
            logger.warning("%s needs more gas than the signer gives", address)
            return PocketStanding(PayoutStatus.READY, look_again_s=HELD_BACK_S)
        async with self._database.transaction() as session:
            await locked_wallet(session, address)
            if address not in await busy_addresses(session, chain.id):
                hot = await hot_address(session, chain.id)
                await add_topup(session, chain, address, amount_minor, hot=hot, clock=self._clock)
            return await _busy(session, spend.pocket)


async def look(session: AsyncSession, transfer_id: str) -> Spend | PocketStanding:
    """Return a transfer that its pocket may pay now; or where it stands, and what it waits for."""
    payout = await session.get_one(Payout, transfer_id)
    if payout.status != PayoutStatus.READY:
        return await _standing(session, payout)
    if await held_back(session, [payout]):
        return PocketStanding(PayoutStatus.READY, look_again_s=HELD_BACK_S)
    chain = await session.get_one(Chain, payout.chain_id)
    pocket = await session.get_one(ChainAddress, payout.pocket_id)
    if pocket.address in await busy_addresses(session, payout.chain_id):
        return await _busy(session, pocket)
    return Spend(
        payout=payout,
        pocket=pocket,
        asset=await session.get_one(Asset, payout.asset),
        chain=chain,
        lent_minor=await lent_minor(session, chain, payout.user_id),
    )


async def plan(
    session: AsyncSession, spend: Spend, destination: str, *, clock: Clock
) -> PocketStanding:
    """Write the payment's own chain transaction; from here its batch's workflow drives it."""
    address, chain = spend.pocket.address, spend.chain
    await locked_wallet(session, address)
    payout = await locked_payout(session, spend.payout.id)
    if payout.status != PayoutStatus.READY:
        return await _standing(session, payout)
    if address in await busy_addresses(session, chain.id):
        return await _busy(session, spend.pocket)
    key = f"pocket:{payout.id}:{clock.now().isoformat()}"
    batch = await add_batch(session, chain.id, address, key, clock=clock)
    row = await add_transaction(
        session,
        batch,
        ChainTransactionKind.POCKET_SPEND,
        asset=payout.asset,
        destination=destination,
        amount_minor=payout.amount_minor,
    )
    payout.destination, payout.chain_transaction_id = destination, row.id
    if payout.gas_hold_id is None:
        payout.gas_max_minor = spend.lent_minor
    move(session, [payout], PayoutStatus.BATCHED, clock=clock, detail=batch.id)
    return PocketStanding(PayoutStatus.BATCHED, (batch.id,))


async def _standing(session: AsyncSession, payout: Payout) -> PocketStanding:
    status = PayoutStatus(payout.status)
    if status != PayoutStatus.BATCHED:
        return PocketStanding(status)
    row = await session.get_one(ChainTransaction, payout.chain_transaction_id)
    # Asked again after a lost answer: its batch may have nobody yet who drives it.
    return PocketStanding(status, (row.batch_id,) if row.status in OPEN else ())


async def _busy(session: AsyncSession, pocket: ChainAddress) -> PocketStanding:
    """Return what is on its way from or to the pocket; it must be driven before anything else."""
    found = await session.exec(
        select(ChainTransaction.batch_id)
        .where(
            ChainTransaction.chain_id == pocket.chain_id,
            (col(ChainTransaction.wallet_address) == pocket.address)
            | (col(ChainTransaction.destination) == pocket.address),
            col(ChainTransaction.status).in_(OPEN),
        )
        .distinct()
    )
    return PocketStanding(PayoutStatus.READY, tuple(sorted(found)), BUSY_S)
