"""Reading a range of blocks again at an operator's wish: finds deposits that nobody recorded."""

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits import arrivals
from domain.clock import Clock
from domain.ports import ChainOutlet
from infra.database import Database
from models.chain_transactions import ChainBlock
from models.deposits import Rescan
from models.wallets import Chain
from watcher.cursor import cursor_of, hold
from watcher.origins import note_origins

BLOCKS_PER_ROUND = 128
"""A rescan shares the watcher's rounds, and must not keep it from the tip."""


class Rescanner:
    """Works off the rescans of one chain, oldest first, a bounded number of blocks at a time."""

    def __init__(self, database: Database, outlet: ChainOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock

    async def run(self) -> None:
        """Read some blocks of the oldest open rescan again, if there is one."""
        async with self._database.transaction() as session:
            rescan = await self._open(session)
            last = await cursor_of(session, self._outlet.chain_id)
        if rescan is None or last is None:
            return
        end = min(rescan.to_height, rescan.next_height + BLOCKS_PER_ROUND - 1, last.height)
        if end < rescan.next_height:
            # A reorg took the cursor back; it comes again.
            return
        blocks = await self._outlet.scan(rescan.next_height, end)
        async with self._database.transaction() as session:
            rescan = await session.get_one(Rescan, rescan.id, with_for_update=True)
            chain = await session.get_one(Chain, rescan.chain_id)
            await hold(session, chain.id)
            # A block that the cursor does not hold is on a fork: the next round decides.
            blocks = [b for b in blocks if await _is_ours(session, chain.id, b.height, b.hash)]
            arrived = await arrivals.arrivals_in(session, chain.id, blocks)
            rescan.found += await arrivals.record(session, chain, arrived, clock=self._clock)
            await arrivals.spend(session, chain.id, blocks)
            await note_origins(session, chain.id, blocks)
            if blocks:
                rescan.next_height = blocks[-1].height + 1
            if rescan.next_height > min(rescan.to_height, last.height):
                rescan.finished_at = self._clock.now()

    async def _open(self, session: AsyncSession) -> Rescan | None:
        found = await session.exec(
            select(Rescan)
            .where(Rescan.chain_id == self._outlet.chain_id, col(Rescan.finished_at).is_(None))
            .order_by(col(Rescan.created_at), col(Rescan.id))
            .limit(1)
        )
        return found.first()


async def _is_ours(session: AsyncSession, chain_id: str, height: int, block_hash: str) -> bool:
    """Tell whether the cursor agrees with a block, or lies too far above to have kept it."""
    known = await session.get(ChainBlock, (chain_id, height))
    if known is not None:
        return known.hash == block_hash
    below = await session.exec(
        select(func.count())
        .select_from(ChainBlock)
        .where(ChainBlock.chain_id == chain_id, col(ChainBlock.height) <= height)
    )
    return below.one() == 0
