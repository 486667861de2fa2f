"""
The cursor: the blocks that we have read, highest last, and what a reorg takes back.

A block and what it means for us are written in one unit of work, so a crash neither skips a block
nor reads it twice with effect. A block that leaves the chain takes back what it said.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.history import move
from domain.clock import Clock
from domain.deposits import DepositStatus
from domain.errors import InvariantError
from domain.scanning import ScannedBlock
from models.chain_transactions import ChainBlock
from models.deposits import ChainDeposit, Utxo
from watcher.fates import unmine
from watcher.origins import forget_rivals, note_origins

BLOCKS_KEPT = 20_000
"""Deepest reorg we can follow; older block hashes are forgotten."""

FIRST_LOOK_BACK = 256
"""How many blocks below the tip the very first scan begins."""

_ADVANCE = text("""
    WITH forgotten AS (DELETE FROM chain_block WHERE chain_id = :chain_id AND height <= :too_deep)
    INSERT INTO chain_block (chain_id, height, hash, parent_hash, seen_at)
    SELECT :chain_id, :first + place - 1, hash, parent_hash, :now
    FROM unnest(CAST(:hashes AS text[]), CAST(:parent_hashes AS text[]))
         WITH ORDINALITY AS read (hash, parent_hash, place)
""")


async def cursor_of(session: AsyncSession, chain_id: str) -> ChainBlock | None:
    """Return the highest block that was read, or None before the first."""
    found = await session.exec(
        select(ChainBlock)
        .where(ChainBlock.chain_id == chain_id)
        .order_by(col(ChainBlock.height).desc())
        .limit(1)
    )
    return found.first()


async def stored_hash(session: AsyncSession, chain_id: str, height: int) -> str | None:
    """Return the hash of the block that we read at this height."""
    block = await session.get(ChainBlock, (chain_id, height))
    return block.hash if block else None


async def hold(session: AsyncSession, chain_id: str) -> None:
    """
    Hold the chain's cursor until the unit of work ends.

    A watcher that was given up for dead may still be at work beside its successor. What either has
    read of the cursor without this lock is only a guess.
    """
    await session.execute(
        text("SELECT pg_advisory_xact_lock(7313, hashtext(:chain_id))"), {"chain_id": chain_id}
    )


async def is_next(session: AsyncSession, chain_id: str, block: ScannedBlock) -> bool:
    """Tell whether this block follows from the cursor, and hold that until the work ends."""
    await hold(session, chain_id)
    last = await cursor_of(session, chain_id)
    return last is None or (last.height + 1, last.hash) == (block.height, block.parent_hash)


async def advance(
    session: AsyncSession, chain_id: str, blocks: Sequence[ScannedBlock], *, clock: Clock
) -> None:
    """
    Move the cursor over these linked blocks; forget what lies too deep to come back.

    Their coins are recorded before, as part of the same unit of work.
    """
    await note_origins(session, chain_id, blocks)
    await session.execute(
        _ADVANCE,
        {
            "chain_id": chain_id,
            "first": blocks[0].height,
            # Literals: a list is written element by element by the driver.
            "hashes": "{" + ",".join([block.hash for block in blocks]) + "}",
            "parent_hashes": "{" + ",".join([block.parent_hash for block in blocks]) + "}",
            "now": clock.now(),
            "too_deep": blocks[-1].height - BLOCKS_KEPT,
        },
    )


async def step_back(session: AsyncSession, block: ChainBlock, *, clock: Clock) -> set[str]:
    """
    Take back a block that left the chain; return the batches that it concerns.

    Does nothing if it is the cursor no longer: somebody else has taken it back.

    Raises:
        InvariantError: It was the last one we know, far above the genesis block.
    """
    await hold(session, block.chain_id)
    last = await cursor_of(session, block.chain_id)
    if last is None or (last.height, last.hash) != (block.height, block.hash):
        return set()
    batches = await unmine(session, block.chain_id, block.hash, clock=clock)
    await _displace_deposits(session, block, clock=clock)
    await _displace_coins(session, block)
    await session.execute(
        delete(ChainBlock).where(
            col(ChainBlock.chain_id) == block.chain_id, col(ChainBlock.height) == block.height
        )
    )
    left = await session.exec(
        select(func.count()).select_from(ChainBlock).where(ChainBlock.chain_id == block.chain_id)
    )
    if left.one() == 0 and block.height > FIRST_LOOK_BACK:
        msg = f"Reorg below every known block of {block.chain_id}; rescan by hand."
        raise InvariantError(msg)
    return batches


async def _displace_deposits(session: AsyncSession, block: ChainBlock, *, clock: Clock) -> None:
    found = await session.exec(
        select(ChainDeposit)
        .where(ChainDeposit.chain_id == block.chain_id, ChainDeposit.block_hash == block.hash)
        .order_by(col(ChainDeposit.id))
        .with_for_update()
    )
    for deposit in found:
        deposit.block_hash = deposit.block_height = None
        status = DepositStatus(deposit.status)
        if status is DepositStatus.CONFIRMING:
            status = DepositStatus.SEEN
        move(session, deposit, status, clock=clock, detail=f"block {block.height} left the chain")


async def _displace_coins(session: AsyncSession, block: ChainBlock) -> None:
    await session.execute(
        update(Utxo)
        .where(col(Utxo.chain_id) == block.chain_id, col(Utxo.block_hash) == block.hash)
        .values(block_hash=None, block_height=None)
    )
    await session.execute(
        update(Utxo)
        .where(col(Utxo.chain_id) == block.chain_id, col(Utxo.spent_block_hash) == block.hash)
        .values(spent_txid=None, spent_block_hash=None)
    )
    await forget_rivals(session, block.chain_id, block.hash)
