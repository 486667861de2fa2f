"""
Reading what was used of limits. Sums count what was given back, as rows of their own.

Nothing here locks; ``limits.reservation`` does before it reads.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func
from sqlalchemy import select as any_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.limits import ANY_ASSET, UNVERIFIED_LEVEL, Limit, Operation, Window
from models.kyc import KycLevel
from models.limits import LimitUsage


@dataclass(frozen=True, slots=True)
class Use:
    """How much of one operation and asset is in use in one window."""

    operation: Operation
    asset: str
    window: Window
    count: int
    amount_minor: int


async def level_of(session: AsyncSession, user_id: str) -> int:
    """Return the user's KYC level; 0 for whoever was never verified."""
    found = await session.exec(select(KycLevel.level).where(KycLevel.user_id == user_id))
    return found.first() or UNVERIFIED_LEVEL


async def uses_of(
    session: AsyncSession,
    user_id: str,
    *,
    at: datetime,
    operation: Operation | None = None,
) -> list[Use]:
    """Return what is in use in the windows that end at this moment, by operation and asset."""
    sums = [
        func.coalesce(func.sum(column).filter(col(LimitUsage.at) > at - window.length), 0)
        for window in Window
        for column in (LimitUsage.times, LimitUsage.amount_minor)
    ]
    oldest = at - max(window.length for window in Window)
    query = (
        any_select(col(LimitUsage.operation), col(LimitUsage.asset), *sums)
        .where(col(LimitUsage.user_id) == user_id, col(LimitUsage.at) > oldest)
        .group_by(col(LimitUsage.operation), col(LimitUsage.asset))
    )
    if operation is not None:
        query = query.where(col(LimitUsage.operation) == operation)
    return [
        Use(Operation(of), asset, window, int(count), int(amount_minor))
        for of, asset, *totals in await session.execute(query)
        for window, count, amount_minor in zip(Window, totals[::2], totals[1::2], strict=True)
    ]


def counted(uses: Iterable[Use], limit: Limit) -> tuple[int, int]:
    """Return how many operations and minor units of these count against this limit."""
    those = [
        use
        for use in uses
        if use.operation == limit.operation
        and use.window == limit.window
        and limit.counts(use.asset)
    ]
    return sum(use.count for use in those), sum(use.amount_minor for use in those)


async def freed_at(
    session: AsyncSession,
    user_id: str,
    limit: Limit,
    *,
    at: datetime,
    count: int = 0,
    amount_minor: int = 0,
) -> datetime | None:
    """Return when so much of what counts against this limit has left its window; None: never."""
    freed_count, freed_minor = _freed(LimitUsage.times), _freed(LimitUsage.amount_minor)
    freed = (
        any_select(col(LimitUsage.at), freed_count.label("count"), freed_minor.label("amount"))
        .where(
            col(LimitUsage.user_id) == user_id,
            col(LimitUsage.operation) == limit.operation,
            col(LimitUsage.at) > at - limit.window.length,
        )
        .group_by(col(LimitUsage.at))
    )
    if limit.asset != ANY_ASSET:
        freed = freed.where(col(LimitUsage.asset) == limit.asset)
    by_then = freed.subquery("by_then")
    found = await session.execute(
        any_select(func.min(by_then.c.at)).where(
            by_then.c.count >= count, by_then.c.amount >= amount_minor
        )
    )
    oldest: datetime | None = found.scalar_one()
    return None if oldest is None else oldest + limit.window.length


def _freed(column: Any) -> ColumnElement[int]:
    """Sum up to and with each moment: what has left the window once that moment has."""
    return func.sum(func.sum(column)).over(order_by=col(LimitUsage.at))
