"""
Sweeping coins of UTXO chains: many deposits into one coin of the hot wallet, in one transaction.

Only what the books have is swept: a deposit that is not credited yet may still go away.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.ids import ATTEMPT, derived_id
from domain.ports import ChainOutlet, SweepPlan
from domain.utxo.networks import network_of
from domain.utxo.sizes import INPUT_VBYTES, dust_minor, transaction_vbytes
from domain.utxo.sizes import fee_minor as fee_of
from infra.database import Database
from models.chain_transactions import ChainAttempt, ChainTransactionKind, ChainTransactionStatus
from models.deposits import AddressPurpose, ChainAddress, ChainDeposit, Utxo
from models.wallets import Asset, Chain
from outgoing.ceilings import within_ceiling
from outgoing.coins import take_internal
from outgoing.own_batches import add_batch, add_transaction, hot_address
from outgoing.records import locked_wallet
from sweeps.batches import open_batches, take_along

INPUTS_MAX = 500
"""Coins that one sweep takes at most; far below a standard transaction's weight."""


@dataclass(frozen=True, slots=True)
class SweptCoin:
    """A deposit's coin, and the deposit that it came with."""

    utxo: Utxo
    deposit_id: str


class CoinSweeper:
    """``domain.ports.Sweeper`` for UTXO chains."""

    def __init__(self, database: Database, outlet: ChainOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock
        self._network = network_of(outlet.chain_id)

    async def plan(self, *, is_forced: bool) -> SweepPlan:
        """Plan a sweep of what is worth it; return every sweep's batch that is on its way."""
        async with self._database.transaction() as session:
            chain = await session.get_one(Chain, self._outlet.chain_id)
        rate = within_ceiling(await self._outlet.quote_fee(), chain).max_fee_minor
        async with self._database.transaction() as session:
            await self._plan(session, chain, rate, is_forced=is_forced)
            return SweepPlan(await open_batches(session, chain.id), chain.sweep_interval_s)

    async def _plan(
        self, session: AsyncSession, chain: Chain, rate: int, *, is_forced: bool
    ) -> None:
        hot = await hot_address(session, chain.id)
        await locked_wallet(session, hot)
        worth = INPUT_VBYTES * rate // 1_000
        coins = [c for c in await _ripe(session, chain.id) if c.utxo.amount_minor > worth]
        if not coins:
            return
        asset = await session.get_one(Asset, chain.native_asset)
        total_minor = sum(coin.utxo.amount_minor for coin in coins)
        fee_minor = fee_of(transaction_vbytes(len(coins), [_SCRIPT]), rate)
        is_enough = is_forced or total_minor >= asset.sweep_min_minor
        is_cheap = fee_minor * 10_000 <= total_minor * chain.sweep_fee_max_bps
        is_dust = total_minor - fee_minor < dust_minor(_SCRIPT, self._network)
        if not is_enough or not is_cheap or is_dust:
            return
        await self._write(session, chain, coins, hot=hot, fee_minor=fee_minor, rate=rate)

    async def _write(
        self,
        session: AsyncSession,
        chain: Chain,
        coins: Sequence[SweptCoin],
        *,
        hot: str,
        fee_minor: int,
        rate: int,
    ) -> None:
        first = coins[0].utxo
        key = f"sweep:{chain.id}:{first.txid}:{first.output_index}:{len(coins)}:{self._now()}"
        batch = await add_batch(session, chain.id, hot, key, clock=self._clock)
        target = await take_internal(session, chain.id, clock=self._clock)
        row = await add_transaction(
            session,
            batch,
            ChainTransactionKind.SWEEP,
            asset=chain.native_asset,
            destination=target.address,
            amount_minor=sum(coin.utxo.amount_minor for coin in coins) - fee_minor,
        )
        session.add(
            ChainAttempt(
                id=derived_id(ATTEMPT, row.id, "0"),
                chain_transaction_id=row.id,
                sequence=0,
                max_fee_minor=rate,
                priority_fee_minor=0,
                change_minor=0,
                fee_minor=fee_minor,
            )
        )
        for coin in coins:
            coin.utxo.locked_by = row.id
        # Its place on the chain are its coins, and it has them.
        row.status = ChainTransactionStatus.ALLOCATED
        await take_along(session, row, [coin.deposit_id for coin in coins])

    def _now(self) -> str:
        return self._clock.now().isoformat()


_SCRIPT = b"\x00\x14" + bytes(20)
"""Any P2WPKH script: all of them have the same size."""


async def _ripe(session: AsyncSession, chain_id: str) -> list[SweptCoin]:
    """Return coins of deposits that the books have, the largest first."""
    found = await session.exec(
        select(Utxo, ChainDeposit.id)
        .join(
            ChainDeposit,
            (col(ChainDeposit.chain_id) == col(Utxo.chain_id))
            & (col(ChainDeposit.txid) == col(Utxo.txid))
            & (col(ChainDeposit.address_id) == col(Utxo.address_id))
            & (col(ChainDeposit.position) == func.concat("vout:", col(Utxo.output_index))),
        )
        .join(ChainAddress, col(ChainAddress.id) == col(Utxo.address_id))
        .where(
            Utxo.chain_id == chain_id,
            ChainAddress.purpose == AddressPurpose.DEPOSIT,
            ~col(Utxo.is_hot),
            col(Utxo.locked_by).is_(None),
            col(Utxo.spent_txid).is_(None),
            col(Utxo.block_hash).is_not(None),
            col(ChainDeposit.is_booked),
            col(ChainDeposit.swept_by).is_(None),
        )
        .order_by(col(Utxo.amount_minor).desc(), col(Utxo.txid), col(Utxo.output_index))
        .limit(INPUTS_MAX)
        .with_for_update(of=Utxo)
    )
    return [SweptCoin(utxo, deposit_id) for utxo, deposit_id in found]
