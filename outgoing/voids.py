"""
Giving up signed transactions of UTXO chains that can never be mined any more.

A reorg can take a coin away for good: another transaction, deep enough to count, spends what that
coin was made of, or the coin itself. Then every attempt that was signed to spend it is void.
The database's own function ``void_by`` decides; a trigger holds everybody to it.
"""

import logging

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from models.chain_transactions import ChainBatch, ChainTransaction, ChainTransactionStatus
from outgoing import coins
from outgoing.records import leave_unswept, sealed_among

INPUT_GONE = "input_gone"
"""Why it was given up: one of the coins that it spends exists no more."""

ON_THE_WAY = (
    ChainTransactionStatus.ALLOCATED,
    ChainTransactionStatus.SIGNED,
    ChainTransactionStatus.BROADCAST,
)

logger = logging.getLogger(__name__)


async def give_up_void(session: AsyncSession, batch: ChainBatch, *, clock: Clock) -> None:
    """
    Give up what is void of a batch whose row is locked: its coins are free again.

    Deposits that a void sweep was to move are swept by another. Payouts stay as they are: they
    were signed once, so they are never signed again, and an operator refunds them.
    """
    if not batch.chain_id.startswith(UTXO_NAMESPACE):
        return
    found = await session.exec(
        select(ChainTransaction)
        .where(
            ChainTransaction.batch_id == batch.id,
            col(ChainTransaction.status).in_(ON_THE_WAY),
        )
        .order_by(col(ChainTransaction.id))
        .with_for_update()
    )
    rows = list(found)
    sealed = await sealed_among(session, [row.id for row in rows])
    # A child that carries its parent along goes after its parent.
    for row in sorted(rows, key=lambda each: each.parent_id is not None):
        if row.id in sealed and (rival := await _void_by(session, row)) is not None:
            logger.error("chain transaction %s is void by %s", row.id, rival)
            row.status, row.reason_code = ChainTransactionStatus.ABANDONED, INPUT_GONE
            row.updated_at = clock.now()
            await session.flush()
            await coins.release(session, row)
            await leave_unswept(session, [row.id])


async def _void_by(session: AsyncSession, row: ChainTransaction) -> str | None:
    found = await session.exec(select(func.void_by(row.id)))
    rival: str | None = found.one()
    return rival
