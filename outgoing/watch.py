"""
Watching one chain: the cursor, reorgs, and the fate of our own transactions.

The highest stored block is the cursor. A block and what it means for us are written in one unit of
work, so a crash neither skips a block nor reads it twice with effect. What we claim is what we saw
in canonical blocks: a block that leaves the chain takes back what it said.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import InvariantError, StrongroomError
from domain.ports import AccountOutlet, Block, Head, Receipt
from infra.database import Database
from models.chain_transactions import (
    SETTLEABLE,
    ChainAttempt,
    ChainBlock,
    ChainHead,
    ChainTransaction,
    ChainTransactionStatus,
)
from models.wallets import Asset, Chain, Finality
from outgoing.records import signed_attempts, transfer_of
from outgoing.settlement import REVERTED_ON_CHAIN, settle, unbooked

BLOCKS_KEPT = 20_000
"""Deepest reorg we can follow; older block hashes are forgotten."""

FIRST_LOOK_BACK = 256
"""How many blocks below the tip the very first scan begins."""

REBROADCAST_AFTER = timedelta(seconds=10)
"""A broadcast transaction that no block took is offered to the node again this often."""

ON_CHAIN = (ChainTransactionStatus.MINED, *SETTLEABLE)


class PostgresChainWatch:
    """Follows one chain into the database."""

    def __init__(self, database: Database, outlet: AccountOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock
        self._chain_id = outlet.chain_id

    async def watch_once(self) -> list[str]:
        """Read the chain up to its tip; return the batches of which something moved."""
        head = await self._outlet.head()
        moved = await self._drop_orphans()
        await self._read_blocks(head)
        moved |= await self._confirm(head)
        await self._rebroadcast()
        return sorted(moved)

    async def _cursor(self) -> ChainBlock | None:
        async with self._database.transaction() as session:
            found = await session.exec(
                select(ChainBlock)
                .where(ChainBlock.chain_id == self._chain_id)
                .order_by(col(ChainBlock.height).desc())
                .limit(1)
            )
            return found.first()

    async def _drop_orphans(self) -> set[str]:
        """Walk back from the cursor while the node disagrees; take back what those blocks said."""
        moved: set[str] = set()
        while (cursor := await self._cursor()) is not None:
            present = await self._outlet.block(cursor.height)
            if present is not None and present.hash == cursor.hash:
                break
            async with self._database.transaction() as session:
                moved |= await self._orphan(session, cursor)
        return moved

    async def _orphan(self, session: AsyncSession, block: ChainBlock) -> set[str]:
        found = await session.exec(
            select(ChainTransaction)
            .where(
                ChainTransaction.chain_id == self._chain_id,
                ChainTransaction.block_hash == block.hash,
                col(ChainTransaction.status).in_(ON_CHAIN),
            )
            .order_by(col(ChainTransaction.id))
            .with_for_update()
        )
        batches: set[str] = set()
        for row in found:
            row.status = ChainTransactionStatus.BROADCAST
            row.txid = row.block_hash = row.block_height = row.reason_code = None
            row.updated_at = self._clock.now()
            batches.add(row.batch_id)
        await session.execute(
            delete(ChainBlock).where(
                col(ChainBlock.chain_id) == self._chain_id, col(ChainBlock.height) == block.height
            )
        )
        left = await session.exec(
            select(func.count())
            .select_from(ChainBlock)
            .where(ChainBlock.chain_id == self._chain_id)
        )
        if left.one() == 0 and block.height > FIRST_LOOK_BACK:
            msg = f"Reorg below every known block of {self._chain_id}; rescan by hand."
            raise InvariantError(msg)
        return batches

    async def _read_blocks(self, head: Head) -> None:
        cursor = await self._cursor()
        height = cursor.height + 1 if cursor else max(0, head.height - FIRST_LOOK_BACK)
        parent_hash = cursor.hash if cursor else None
        while height <= head.height:
            block = await self._outlet.block(height)
            if block is None or parent_hash not in (None, block.parent_hash):
                # The chain changed below our feet; the next round begins with the orphans.
                return
            if not await self._read_block(block):
                return
            parent_hash, height = block.hash, height + 1

    async def _read_block(self, block: Block) -> bool:
        """Store the block and what it did for us; False when the node no longer stands by it."""
        async with self._database.transaction() as session:
            ours = await self._ours_in(session, block)
        receipts: list[Receipt] = []
        for row, txid, contract_address in ours:
            receipt = await self._outlet.receipt(txid, transfer_of(row, contract_address))
            if receipt is None or receipt.block_hash != block.hash:
                return False
            receipts.append(receipt)
        async with self._database.transaction() as session:
            for (row, _, _), receipt in zip(ours, receipts, strict=True):
                await self._mine(session, row.id, receipt)
            session.add(
                ChainBlock(
                    chain_id=self._chain_id,
                    height=block.height,
                    hash=block.hash,
                    parent_hash=block.parent_hash,
                    seen_at=self._clock.now(),
                )
            )
            await session.execute(
                delete(ChainBlock).where(
                    col(ChainBlock.chain_id) == self._chain_id,
                    col(ChainBlock.height) == block.height - BLOCKS_KEPT,
                )
            )
        return True

    async def _ours_in(
        self, session: AsyncSession, block: Block
    ) -> Sequence[tuple[ChainTransaction, str, str | None]]:
        found = await session.exec(
            select(ChainTransaction, ChainAttempt.txid, Asset.contract_address)
            .join(
                ChainAttempt,
                col(ChainAttempt.chain_transaction_id) == col(ChainTransaction.id),
            )
            .join(Asset, col(Asset.code) == col(ChainTransaction.asset))
            .where(col(ChainAttempt.txid).in_(block.txids))
            .order_by(col(ChainTransaction.id))
        )
        return [(row, str(txid), contract) for row, txid, contract in found]

    async def _mine(self, session: AsyncSession, row_id: str, receipt: Receipt) -> None:
        row = await session.get_one(ChainTransaction, row_id, with_for_update=True)
        row.status = ChainTransactionStatus.MINED
        row.txid = receipt.txid
        row.block_height = receipt.block_height
        row.block_hash = receipt.block_hash
        row.network_fee_minor = receipt.network_fee_minor
        row.outflow_minor = receipt.outflow_minor
        row.reason_code = None if receipt.succeeded else REVERTED_ON_CHAIN
        row.updated_at = self._clock.now()

    async def _confirm(self, head: Head) -> set[str]:
        """Mark what is deep enough below the cursor; post again what a reorg changed."""
        cursor = await self._cursor()
        if cursor is None:
            return set()
        async with self._database.transaction() as session:
            chain = await session.get_one(Chain, self._chain_id)
            await self._note_head(session, head, cursor.height)
            settled_height = _settled_height(chain, head, cursor.height)
            rows = await session.exec(
                select(ChainTransaction)
                .where(
                    ChainTransaction.chain_id == self._chain_id,
                    ChainTransaction.status == ChainTransactionStatus.MINED,
                    col(ChainTransaction.block_height) <= settled_height,
                )
                .order_by(col(ChainTransaction.id))
                .with_for_update()
            )
            deep = list(rows)
            for row in deep:
                is_paid = row.reason_code is None
                row.status = (
                    ChainTransactionStatus.CONFIRMED if is_paid else ChainTransactionStatus.REVERTED
                )
                row.updated_at = self._clock.now()
        await self._settle_again({row.batch_id for row in deep if row.settled_at is not None})
        return {row.batch_id for row in deep} | await self._unsettled()

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

    async def _note_head(self, session: AsyncSession, head: Head, height: int) -> None:
        values = {
            "height": height,
            "finalized_height": head.finalized_height,
            "base_fee_minor": head.base_fee_minor,
            "seen_at": self._clock.now(),
        }
        statement = insert(ChainHead).values(chain_id=self._chain_id, **values)
        await session.execute(
            statement.on_conflict_do_update(index_elements=["chain_id"], set_=values)
        )

    async def _rebroadcast(self) -> None:
        """Offer what no block took to the node again: it may have restarted, or lost a reorg."""
        overdue = self._clock.now() - REBROADCAST_AFTER
        async with self._database.transaction() as session:
            rows = await session.exec(
                select(ChainTransaction.id)
                .where(
                    ChainTransaction.chain_id == self._chain_id,
                    ChainTransaction.status == ChainTransactionStatus.BROADCAST,
                )
                .order_by(col(ChainTransaction.account_nonce))
            )
            attempts = await signed_attempts(session, list(rows))
        stale = [a for a in attempts.values() if a.broadcast_at is None or a.broadcast_at < overdue]
        for attempt in sorted(stale, key=lambda a: a.chain_transaction_id):
            await self._offer(attempt)

    async def _offer(self, attempt: ChainAttempt) -> None:
        error_code = None
        try:
            await self._outlet.broadcast(attempt.raw or b"")
        except StrongroomError as error:
            error_code = error.code
        async with self._database.transaction() as session:
            await session.execute(
                update(ChainAttempt)
                .where(col(ChainAttempt.id) == attempt.id)
                .values(broadcast_at=self._clock.now(), last_error=error_code)
            )


def _settled_height(chain: Chain, head: Head, height: int) -> int:
    """Return the highest block that counts as settled; the tip itself is one confirmation."""
    if chain.finality == Finality.FINALIZED:
        return min(head.finalized_height if head.finalized_height is not None else -1, height)
    return height - chain.confirmations_min + 1
