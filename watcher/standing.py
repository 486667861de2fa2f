"""What the whole chain says once it was read to its tip: which deposits are gone, which are due."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, case, func, or_, union, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.history import move
from domain.clock import Clock
from domain.deposits import DepositStatus
from models.deposits import ChainDeposit

TELL_AGAIN_AFTER = timedelta(seconds=10)
"""A workflow that has not done what it was told of is told again."""


async def forget_missing(
    session: AsyncSession, chain_id: str, *, pool: frozenset[str], clock: Clock
) -> None:
    """
    Note which deposits are in no block of the chain, which was read to its tip.

    Those that the pool does not hold either are forgotten; those that were booked are missing,
    even if the pool holds them: a pool is no evidence.
    """
    found = await session.exec(
        select(ChainDeposit)
        .where(
            ChainDeposit.chain_id == chain_id,
            col(ChainDeposit.block_hash).is_(None),
            col(ChainDeposit.missing_since).is_(None),
            or_(
                col(ChainDeposit.is_booked),
                col(ChainDeposit.status) == DepositStatus.SEEN,
            ),
        )
        .order_by(col(ChainDeposit.id))
        .with_for_update()
    )
    for deposit in found:
        if deposit.is_booked:
            deposit.missing_since = clock.now()
            deposit.notified_at = None
        elif deposit.txid not in pool:
            move(session, deposit, DepositStatus.FORGOTTEN, clock=clock, detail="not on the chain")


async def due(
    session: AsyncSession,
    chain_id: str,
    *,
    height: int,
    finalized_height: int | None,
    clock: Clock,
) -> list[str]:
    """
    Return the deposits with something to do: new, deep enough to be booked, or missing.

    ``finalized_height`` is given where only finalized blocks count.
    """
    new = select(ChainDeposit.id).where(
        ChainDeposit.chain_id == chain_id,
        col(ChainDeposit.status).in_([DepositStatus.SEEN, DepositStatus.CONFIRMING]),
        col(ChainDeposit.started_at).is_(None),
    )
    deep = select(ChainDeposit.id).where(
        ChainDeposit.chain_id == chain_id,
        ~col(ChainDeposit.is_booked),
        col(ChainDeposit.asset).is_not(None),
        col(ChainDeposit.block_height) <= height - col(ChainDeposit.confirmations_required) + 1,
        _untold(clock),
    )
    if finalized_height is not None:
        deep = deep.where(col(ChainDeposit.block_height) <= finalized_height)
    missing = select(ChainDeposit.id).where(
        ChainDeposit.chain_id == chain_id,
        col(ChainDeposit.missing_since).is_not(None),
        _untold(clock),
    )
    # Three queries, so that each can use its own index: this is asked every second.
    found = await session.execute(union(new, deep, missing))
    return sorted(found.scalars())


def _untold(clock: Clock) -> ColumnElement[bool]:
    return or_(
        col(ChainDeposit.notified_at).is_(None),
        col(ChainDeposit.notified_at) < clock.now() - TELL_AGAIN_AFTER,
    )


async def mark_told(session: AsyncSession, deposit_ids: Sequence[str], *, clock: Clock) -> None:
    """Remember that the workflows of these deposits were told, or started."""
    if not deposit_ids:
        return
    was_started = col(ChainDeposit.started_at).is_not(None)
    await session.execute(
        update(ChainDeposit)
        .where(col(ChainDeposit.id).in_(deposit_ids))
        .values(
            # What was only started is told at once when it is deep enough.
            notified_at=case((was_started, clock.now())),
            started_at=func.coalesce(col(ChainDeposit.started_at), clock.now()),
        )
    )
