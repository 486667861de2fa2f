"""
Watching one chain: blocks, deposits, coins and the fate of our own transactions, in one pass.

What we claim is what we saw in canonical blocks. Each run of blocks is one unit of work with one
query for our addresses and one for our transactions, while the next run is already being read. Runs
grow while we are far behind and blocks are small.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits import arrivals
from domain.clock import Clock
from domain.errors import TransientError
from domain.ports import ChainOutlet, Head, WatchRound
from domain.scanning import PendingView, ScannedBlock
from infra.database import Database
from models.chain_transactions import SETTLEABLE, ChainBlock, ChainHead, ChainTransaction
from models.wallets import Chain, Finality
from outgoing.settlement import settle, unbooked
from watcher import cursor, fates, standing
from watcher.balances import BalanceReconciler
from watcher.fates import FateReader, Rebroadcaster
from watcher.known_keys import WORTHWHILE_KEYS, KnownKeys
from watcher.rescans import Rescanner

RUN_BLOCKS = 32
"""Blocks that one unit of work takes at first."""

RUN_BLOCKS_MAX = 256
RUN_KEYS = 20_000
"""How many lookup keys a run should hold at most: memory and the length of a unit of work."""

ROUND_BLOCKS = 2_048
"""Blocks that one round takes at most, so that catching up shows progress."""

FEE_INTERVAL = timedelta(seconds=15)
"""How often the chain's fee rate is asked for."""

UNCLEAR_INTERVAL = timedelta(minutes=10)
"""How often we look again at what nobody could tell the meaning of; a newer version may know."""

LAG_PATIENCE = timedelta(hours=1)
"""A node that is behind on our own chain may be a lagging fall-back; after this it went back."""

Progress = Callable[[int, int], None]
"""Told how far we are, and the tip."""


def next_run_blocks(blocks: Sequence[ScannedBlock]) -> int:
    """
    Return how many blocks to read after these: twice as many, if they hold as much as these did.

    Far behind on a chain of small blocks, most of the time would go into round trips otherwise.
    """
    keys = sum(len(block.lookup_keys()) for block in blocks)
    fitting = len(blocks) * RUN_KEYS // max(keys, 1)
    return max(1, min(2 * len(blocks), fitting, RUN_BLOCKS_MAX))


class PostgresChainWatch:
    """``domain.ports.ChainWatch``: follows one chain into the database."""

    def __init__(
        self,
        database: Database,
        outlet: ChainOutlet,
        fate_reader: FateReader,
        clock: Clock,
        *,
        balances: BalanceReconciler | None = None,
        progress: Progress = lambda _height, _tip: None,
    ) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._fates = fate_reader
        self._clock = clock
        self._progress = progress
        self._balances = balances
        self._chain_id = outlet.chain_id
        self._rebroadcaster = Rebroadcaster(database, outlet, clock)
        self._rescanner = Rescanner(database, outlet, clock)
        self._known_keys = KnownKeys(outlet.chain_id)
        self._pool: frozenset[str] = frozenset()
        self._behind_since: datetime | None = None
        self._fee_rate: tuple[datetime, int] | None = None
        self._puzzled_at: datetime | None = None

    async def watch_once(self) -> WatchRound:
        """Read the chain towards its tip, a bounded number of blocks; say what moved."""
        # The pool first: what leaves it afterwards for a block is in a block that we read below.
        pool = await self._outlet.pending(self._pool)
        head = await self._outlet.head()
        moved = await self._drop_orphans(head)
        await self._look_again()
        height = await self._read_blocks(head)
        if height == head.height:
            await self._take_pool(pool, head)
            if self._balances is not None:
                await self._balances.run()
        moved |= await self._confirm(head)
        deposits = await self._due(head)
        await self._rebroadcaster.run()
        await self._rescanner.run()
        return WatchRound(sorted(moved), deposits, max(height, -1), head.height)

    async def mark_notified(self, deposit_ids: Sequence[str]) -> None:
        """Remember that the workflows of these deposits were told."""
        async with self._database.transaction() as session:
            await standing.mark_told(session, deposit_ids, clock=self._clock)

    async def _drop_orphans(self, head: Head) -> set[str]:
        """Walk back from the cursor while the node disagrees; take back what those blocks said."""
        moved: set[str] = set()
        if await self._is_merely_behind(head):
            return moved
        depth = 0
        while True:
            async with self._database.transaction() as session:
                last = await cursor.cursor_of(session, self._chain_id)
            if last is None:
                break
            present = await self._outlet.block(last.height)
            if present is not None and present.hash == last.hash:
                break
            depth += 1
            async with self._database.transaction() as session:
                moved |= await cursor.step_back(session, last, clock=self._clock)
                await _note_reorg(session, last, depth, self._clock.now())
        return moved

    async def _is_merely_behind(self, head: Head) -> bool:
        """Tell whether the node stands on our chain below us, as a lagging fall-back does."""
        async with self._database.transaction() as session:
            last = await cursor.cursor_of(session, self._chain_id)
            known = await cursor.stored_hash(session, self._chain_id, head.height)
        if last is None or head.height >= last.height or known != head.hash:
            self._behind_since = None
            return False
        self._behind_since = self._behind_since or self._clock.now()
        return self._clock.now() - self._behind_since < LAG_PATIENCE

    async def _read_blocks(self, head: Head) -> int:
        """Read up to the tip, or as far as one round goes; return the height of the cursor."""
        async with self._database.transaction() as session:
            last = await cursor.cursor_of(session, self._chain_id)
            chain = await session.get_one(Chain, self._chain_id)
        first = last.height + 1 if last else max(0, head.height - cursor.FIRST_LOOK_BACK)
        parent_hash, height = (last.hash, last.height) if last else (None, first - 1)
        async for blocks in self._runs(first, min(head.height, first + ROUND_BLOCKS - 1)):
            if parent_hash not in (None, blocks[0].parent_hash):
                # The chain changed below our feet; the next round begins with the orphans.
                return height
            if not await self._read_run(chain, blocks):
                return height
            parent_hash, height = blocks[-1].hash, blocks[-1].height
            self._progress(height, head.height)
        return height

    async def _runs(self, first: int, last: int) -> AsyncIterator[list[ScannedBlock]]:
        """Yield runs of blocks in order, reading one ahead; ends early where the node does."""
        ahead: asyncio.Task[list[ScannedBlock]] | None = None
        size = RUN_BLOCKS
        try:
            while first <= last:
                end = min(last, first + size - 1)
                blocks = await (ahead or self._outlet.scan(first, end))
                ahead = None
                if not blocks:
                    return
                is_whole = len(blocks) == end - first + 1
                first = blocks[-1].height + 1
                if is_whole and first <= last:
                    size = next_run_blocks(blocks)
                    following = min(last, first + size - 1)
                    ahead = asyncio.create_task(self._outlet.scan(first, following))
                yield blocks
                if not is_whole:
                    return
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.wait([ahead])

    async def _read_run(self, chain: Chain, blocks: Sequence[ScannedBlock]) -> bool:
        """Store blocks and what they did for us; False when the node no longer stands by them."""
        async with self._database.transaction() as session:
            if not await cursor.is_next(session, self._chain_id, blocks[0]):
                return False
            ours = await fates.ours_in(session, self._chain_id, blocks)
            if not ours:
                await self._write_run(session, chain, blocks)
                return True
        # The node is asked while nothing is held.
        receipts = await fates.receipts_of(self._fates, ours)
        if receipts is None:
            return False
        async with self._database.transaction() as session:
            if not await cursor.is_next(session, self._chain_id, blocks[0]):
                return False
            await fates.mine(session, ours, receipts, clock=self._clock)
            await self._write_run(session, chain, blocks)
        return True

    async def _look_again(self) -> None:
        """Ask again what nobody understood: at once after a start, then now and then."""
        now = self._clock.now()
        if self._puzzled_at is not None and now - self._puzzled_at < UNCLEAR_INTERVAL:
            return
        self._puzzled_at = now
        async with self._database.transaction() as session:
            ours = await fates.unclear(session, self._chain_id)
        receipts = await fates.receipts_of(self._fates, ours)
        if not receipts:
            return
        async with self._database.transaction() as session:
            await cursor.hold(session, self._chain_id)
            still = {
                (each.row.id, each.block) for each in await fates.unclear(session, self._chain_id)
            }
            known = [
                (each, receipt)
                for each, receipt in zip(ours, receipts, strict=True)
                if (each.row.id, each.block) in still
            ]
            await fates.mine(
                session, [each for each, _ in known], [told for _, told in known], clock=self._clock
            )

    async def _write_run(
        self, session: AsyncSession, chain: Chain, blocks: Sequence[ScannedBlock]
    ) -> None:
        """Store what arrived and what was spent, and move the cursor over the blocks."""
        sought: set[bytes] = set().union(*[block.lookup_keys() for block in blocks])
        if len(sought) >= WORTHWHILE_KEYS:
            # Only now: whoever was given an address before he paid, has it committed by now.
            sought = await self._known_keys.maybe_ours(session, sought)
        arrived = await arrivals.arrivals_in(session, self._chain_id, blocks, sought=sought)
        await arrivals.record(session, chain, arrived, clock=self._clock)
        await arrivals.spend(session, self._chain_id, blocks)
        await cursor.advance(session, self._chain_id, blocks, clock=self._clock)

    async def _take_pool(self, pool: PendingView, head: Head) -> None:
        """Record unconfirmed deposits, and forget those that are neither here nor on the chain."""
        async with self._database.transaction() as session:
            await cursor.hold(session, self._chain_id)
            last = await cursor.cursor_of(session, self._chain_id)
            if last is None or last.hash != head.hash:
                # Another watcher is taking blocks back: what it has not read again is not gone.
                return
            chain = await session.get_one(Chain, self._chain_id)
            arrived = await arrivals.arrivals_among(session, self._chain_id, pool.incoming)
            await arrivals.record(session, chain, arrived, clock=self._clock)
            await standing.forget_missing(
                session, self._chain_id, pool=pool.txids, clock=self._clock
            )
        self._pool = pool.txids

    async def _fee_rate_minor(self) -> int | None:
        """Return what a transaction would offer, asked now and then; for people, not for us."""
        now = self._clock.now()
        if self._fee_rate is None or now - self._fee_rate[0] >= FEE_INTERVAL:
            with contextlib.suppress(TransientError):
                self._fee_rate = now, (await self._outlet.quote_fee()).max_fee_minor
        return self._fee_rate[1] if self._fee_rate else None

    async def _confirm(self, head: Head) -> set[str]:
        """Mark what is deep enough below the cursor; post again what a reorg changed."""
        fee_rate_minor = await self._fee_rate_minor()
        async with self._database.transaction() as session:
            last = await cursor.cursor_of(session, self._chain_id)
            if last is None:
                return set()
            chain = await session.get_one(Chain, self._chain_id)
            await self._note_head(session, head, last.height, fee_rate_minor)
            settled_height = _settled_height(chain, head, last.height)
            deep = await fates.confirm(session, self._chain_id, settled_height, clock=self._clock)
        await self._settle_again({row.batch_id for row in deep if row.settled_at is not None})
        return {row.batch_id for row in deep} | await self._unsettled()

    async def _due(self, head: Head) -> list[str]:
        async with self._database.transaction() as session:
            last = await cursor.cursor_of(session, self._chain_id)
            chain = await session.get_one(Chain, self._chain_id)
            if last is None:
                return []
            finalized = head.finalized_height if head.finalized_height is not None else -1
            return await standing.due(
                session,
                self._chain_id,
                height=last.height,
                finalized_height=finalized if chain.finality == Finality.FINALIZED else None,
                clock=self._clock,
            )

    async def _settle_again(self, batch_ids: set[str]) -> None:
        # Their workflows may have ended long ago: what a deep reorg changed is booked from here.
        for batch_id in sorted(batch_ids):
            async with self._database.transaction() as session:
                await settle(session, batch_id, clock=self._clock)

    async def _unsettled(self) -> set[str]:
        """Return batches with something to settle: a signal that was lost is sent again."""
        async with self._database.transaction() as session:
            found = await session.exec(
                select(ChainTransaction.batch_id)
                .where(
                    ChainTransaction.chain_id == self._chain_id,
                    col(ChainTransaction.status).in_(SETTLEABLE),
                    unbooked(),
                )
                .distinct()
            )
            return set(found)

    async def _note_head(
        self, session: AsyncSession, head: Head, height: int, fee_rate_minor: int | None
    ) -> None:
        values = {
            "height": height,
            "tip_height": head.height,
            "finalized_height": head.finalized_height,
            "base_fee_minor": head.base_fee_minor,
            "fee_rate_minor": fee_rate_minor,
            "seen_at": self._clock.now(),
        }
        statement = insert(ChainHead).values(chain_id=self._chain_id, **values)
        await session.execute(
            statement.on_conflict_do_update(index_elements=["chain_id"], set_=values)
        )


async def _note_reorg(session: AsyncSession, gone: ChainBlock, depth: int, at: datetime) -> None:
    head = await session.get(ChainHead, gone.chain_id, with_for_update=True)
    if head is not None:
        head.reorg_depth, head.reorg_at = depth, at
        # Depth is reckoned from here: what the new fork brings must not count the old one's blocks.
        head.height = min(head.height, gone.height - 1)


def _settled_height(chain: Chain, head: Head, height: int) -> int:
    """Return the highest block that counts as settled; the tip itself is one confirmation."""
    if chain.finality == Finality.FINALIZED:
        return min(head.finalized_height if head.finalized_height is not None else -1, height)
    return height - chain.confirmations_min + 1
