"""
Sweeping deposit addresses of account chains (EVM): each address pays for itself.

Where tokens lie on an address without coin for gas, the hot wallet gives it some first, and the
tokens wait until that is confirmed. Only what the books have is swept.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import WouldRevertError
from domain.ports import AccountOutlet, FeeQuote, SweepPlan, Transfer
from infra.database import Database
from models.chain_transactions import ChainTransactionKind
from models.deposits import AddressPurpose, ChainAddress, ChainDeposit
from models.wallets import Asset, Chain
from outgoing.ceilings import within_ceiling
from outgoing.own_batches import (
    add_batch,
    add_topup,
    add_transaction,
    busy_addresses,
    hot_address,
    is_topup_possible,
)
from outgoing.records import locked_wallet
from sweeps.batches import open_batches, take_along

ADDRESSES_PER_ROUND = 50

RESERVE_FACTOR = 2
"""Gas is reckoned at this times the present maximum, so that a replacement can be paid as well."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ripe:
    """What one address holds of one asset that the books have and nothing sweeps yet."""

    address: str
    asset: Asset
    amount_minor: int
    deposit_ids: tuple[str, ...]


class AccountSweeper:
    """``domain.ports.Sweeper`` for account chains."""

    def __init__(self, database: Database, outlet: AccountOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock

    async def plan(self, *, is_forced: bool) -> SweepPlan:
        """Plan sweeps of what is worth it; return every sweep's batch that is on its way."""
        async with self._database.transaction() as session:
            chain = await session.get_one(Chain, self._outlet.chain_id)
            hot = await hot_address(session, chain.id)
            busy = await busy_addresses(session, chain.id)
            found = await _ripe(session, chain.id)
        ripe = [r for r in found if is_forced or r.amount_minor >= r.asset.sweep_min_minor]
        ripe = [r for r in ripe if r.address not in busy]
        if ripe:
            quote = within_ceiling(await self._outlet.quote_fee(), chain)
            await self._plan_some(chain, ripe, quote, hot=hot)
        async with self._database.transaction() as session:
            return SweepPlan(await open_batches(session, chain.id), chain.sweep_interval_s)

    async def _plan_some(
        self, chain: Chain, ripe: Sequence[Ripe], quote: FeeQuote, *, hot: str
    ) -> None:
        """Plan one transaction for each of some addresses; what cannot move is passed over."""
        planned: set[str] = set()
        for each in ripe:
            if len(planned) == ADDRESSES_PER_ROUND:
                return
            if each.address not in planned and await self._plan_one(chain, each, quote, hot=hot):
                planned.add(each.address)

    async def _plan_one(self, chain: Chain, ripe: Ripe, quote: FeeQuote, *, hot: str) -> bool:
        if ripe.asset.contract_address is None:
            return await self._plan_native(chain, ripe, quote, hot=hot)
        amount_minor = await self._movable(ripe)
        transfer = Transfer(ripe.address, hot, amount_minor, ripe.asset.contract_address)
        (estimate,) = await self._outlet.estimate_gas([transfer])
        if amount_minor == 0 or estimate.gas_limit is None:
            # A token that cannot be moved now may be paused; it is looked at again.
            return False
        gas_minor = estimate.gas_limit * quote.max_fee_minor * RESERVE_FACTOR
        most_minor = ripe.asset.sweep_fee_max_minor
        if most_minor is not None and _likely(estimate.gas_limit, quote) > most_minor:
            return False
        owned_minor = await self._outlet.balance_minor(ripe.address)
        if owned_minor < gas_minor:
            return await self._top_up(chain, ripe.address, gas_minor - owned_minor, hot=hot)
        return await self._sweep(chain, ripe, amount_minor, hot=hot)

    async def _movable(self, ripe: Ripe) -> int:
        """Return how much of a token lies there, if that is less than the books say."""
        contract = ripe.asset.contract_address
        try:
            owned_minor = await self._outlet.balance_minor(ripe.address, contract_address=contract)
        except WouldRevertError:
            return 0
        # Less lies there after a reorg undid a deposit that was swept, or a sweep that failed.
        return min(owned_minor, ripe.amount_minor)

    async def _plan_native(self, chain: Chain, ripe: Ripe, quote: FeeQuote, *, hot: str) -> bool:
        fee_minor = _likely(PLAIN_TRANSFER_GAS, quote) * 10_000
        if fee_minor > ripe.amount_minor * chain.sweep_fee_max_bps:
            return False
        owned_minor = await self._outlet.balance_minor(ripe.address)
        reserve_minor = PLAIN_TRANSFER_GAS * quote.max_fee_minor * RESERVE_FACTOR
        amount_minor = min(owned_minor - reserve_minor, ripe.amount_minor)
        if amount_minor <= 0 or fee_minor > amount_minor * chain.sweep_fee_max_bps:
            return False
        return await self._sweep(chain, ripe, amount_minor, hot=hot)

    async def _sweep(self, chain: Chain, ripe: Ripe, amount_minor: int, *, hot: str) -> bool:
        key = f"sweep:{chain.id}:{ripe.address}:{ripe.asset.code}:{self._now()}"
        async with self._database.transaction() as session:
            await locked_wallet(session, ripe.address)
            if ripe.address in await busy_addresses(session, chain.id):
                return False
            if not await _are_unswept(session, ripe.deposit_ids):
                return False
            batch = await add_batch(session, chain.id, ripe.address, key, clock=self._clock)
            row = await add_transaction(
                session,
                batch,
                ChainTransactionKind.SWEEP,
                asset=ripe.asset.code,
                destination=hot,
                amount_minor=amount_minor,
            )
            await take_along(session, row, ripe.deposit_ids)
            return True

    async def _top_up(self, chain: Chain, address: str, amount_minor: int, *, hot: str) -> bool:
        if not is_topup_possible(chain, amount_minor):
            logger.warning("%s needs more gas than the signer gives for a sweep", address)
            return False
        async with self._database.transaction() as session:
            await locked_wallet(session, address)
            if address in await busy_addresses(session, chain.id):
                return False
            await add_topup(session, chain, address, amount_minor, hot=hot, clock=self._clock)
            return True

    def _now(self) -> str:
        return self._clock.now().isoformat()


PLAIN_TRANSFER_GAS = 21_000
"""A transfer without data to an account without code (Yellow Paper, G_transaction)."""


def _likely(gas: int, quote: FeeQuote) -> int:
    """Return what this much gas costs at the present base fee."""
    return gas * (quote.base_fee_minor + quote.priority_fee_minor)


async def _ripe(session: AsyncSession, chain_id: str) -> Sequence[Ripe]:
    """Return what the books have on each address, oldest first."""
    found = await session.exec(
        select(
            ChainAddress.address,
            Asset,
            func.sum(ChainDeposit.amount_minor),
            func.array_agg(ChainDeposit.id),
        )
        .join(ChainAddress, col(ChainAddress.id) == col(ChainDeposit.address_id))
        .join(Asset, col(Asset.code) == col(ChainDeposit.asset))
        .where(
            ChainDeposit.chain_id == chain_id,
            ChainAddress.purpose == AddressPurpose.DEPOSIT,
            col(ChainDeposit.is_booked),
            col(ChainDeposit.swept_by).is_(None),
            col(ChainDeposit.missing_since).is_(None),
            col(ChainDeposit.block_hash).is_not(None),
        )
        .group_by(ChainAddress.address, col(Asset.code))
        .order_by(func.min(ChainDeposit.seen_at), ChainAddress.address)
    )
    ripe = [
        Ripe(address, asset, int(total), tuple(sorted(ids))) for address, asset, total, ids in found
    ]
    # Tokens before coin: the coin that lies there pays for moving them.
    return sorted(ripe, key=lambda each: each.asset.contract_address is None)


async def _are_unswept(session: AsyncSession, deposit_ids: Sequence[str]) -> bool:
    """Tell whether nobody else swept them since they were read; locks them."""
    found = await session.exec(
        select(ChainDeposit.id)
        .where(
            col(ChainDeposit.id).in_(deposit_ids),
            col(ChainDeposit.swept_by).is_(None),
            col(ChainDeposit.is_booked),
        )
        .order_by(col(ChainDeposit.id))
        .with_for_update()
    )
    return len(found.all()) == len(deposit_ids)
