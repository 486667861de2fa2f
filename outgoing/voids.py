"""
Giving up signed transactions of UTXO chains that can never be mined any more.

A reorg can take a coin away for good: another transaction, deep enough to count, spends what that
coin was made of, or the coin itself. Then every attempt that was signed to spend it is void.
The database's own function ``void_by`` decides; a trigger holds everybody to it.
"""

import logging
from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, func
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from models.chain_transactions import ChainBatch, ChainTransaction, ChainTransactionStatus
from models.deposits import Utxo
from outgoing import coins
from outgoing.records import leave_unswept, sealed_among

INPUT_GONE = "input_gone"
"""Why it was given up: one of the coins that it spends exists no more."""

ON_THE_WAY = (
    ChainTransactionStatus.ALLOCATED,
    ChainTransactionStatus.SIGNED,
    ChainTransactionStatus.BROADCAST,
)
GIVEN_UP = (ChainTransactionStatus.ABANDONED, ChainTransactionStatus.REVERTED)

logger = logging.getLogger(__name__)


async def give_up_void_in(session: AsyncSession, batch: ChainBatch, *, clock: Clock) -> None:
    """Give up what is void of a batch whose row is locked; see ``give_up_void``."""
    if batch.chain_id.startswith(UTXO_NAMESPACE):
        await _give_up(session, ChainTransaction.batch_id == batch.id, clock=clock)


async def give_up_void(
    session: AsyncSession, chain_id: str, *, clock: Clock
) -> list[ChainTransaction]:
    """
    Give up what is void on a chain, and return it: its coins are free again.

    Deposits that a void sweep was to move are swept by another. Payouts stay as they are: they
    were signed once, so they are never signed again, and an operator refunds them. What was settled
    before a reorg that deep counts as mined without effect, and the books follow.
    """
    if not chain_id.startswith(UTXO_NAMESPACE):
        return []
    return await _give_up(session, ChainTransaction.chain_id == chain_id, clock=clock)


async def _give_up(
    session: AsyncSession,
    scope: ColumnElement[bool] | bool,  # noqa: FBT001 - what SQLModel's comparisons claim to be
    *,
    clock: Clock,
) -> list[ChainTransaction]:
    rows = await _suspects(session, scope)
    sealed = await sealed_among(session, [row.id for row in rows])
    void = []
    for row in rows:
        if row.id not in sealed or (rival := await _void_by(session, row)) is None:
            continue
        logger.error("chain transaction %s is void by %s", row.id, rival)
        _end(row, clock)
        await session.flush()
        await coins.release(session, row)
        await leave_unswept(session, [row.id])
        void.append(row)
    return void


async def _suspects(
    session: AsyncSession,
    scope: ColumnElement[bool] | bool,  # noqa: FBT001
) -> Sequence[ChainTransaction]:
    """Return, locked, what waits for a block although a coin or a parent of it is not there."""
    parent = aliased(ChainTransaction)
    lacks_coin = exists().where(
        col(Utxo.locked_by) == col(ChainTransaction.id),
        col(Utxo.block_hash).is_(None) | col(Utxo.spent_txid).is_not(None),
    )
    lacks_parent = exists().where(
        col(parent.id) == col(ChainTransaction.parent_id), col(parent.status).in_(GIVEN_UP)
    )
    found = await session.exec(
        select(ChainTransaction)
        .where(scope, col(ChainTransaction.status).in_(ON_THE_WAY), lacks_coin | lacks_parent)
        .order_by(col(ChainTransaction.id))
        .with_for_update()
    )
    return found.all()


def _end(row: ChainTransaction, clock: Clock) -> None:
    row.reason_code = INPUT_GONE
    row.updated_at = clock.now()
    if row.settled_at is None:
        row.status = ChainTransactionStatus.ABANDONED
        return
    row.status = ChainTransactionStatus.REVERTED
    row.network_fee_minor = row.outflow_minor = row.received_minor = 0


async def _void_by(session: AsyncSession, row: ChainTransaction) -> str | None:
    found = await session.exec(select(func.void_by(row.id)))
    rival: str | None = found.one()
    return rival
