"""What a user has used of their limits, what remains, and when it renews."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.limits import LimitStanding, Operation
from limits.documents import limits_of
from limits.usage import counted, freed_at, uses_of


async def standing(
    session: AsyncSession,
    user_id: str,
    *,
    at: datetime,
    operation: Operation | None = None,
    asset: str | None = None,
) -> list[LimitStanding]:
    """Return the user's limits, in the table's order; of one operation or asset, or of all."""
    uses = await uses_of(session, user_id, operation=operation, at=at)
    found = []
    for limit in await limits_of(session, user_id, operation):
        if asset is not None and not limit.counts(asset):
            continue
        used_count, used_minor = counted(uses, limit)
        renews_at = await freed_at(session, user_id, limit, at=at, count=1) if used_count else None
        amount_minor = None if limit.amount_cap_minor is None else used_minor
        found.append(LimitStanding(limit, used_count, amount_minor, renews_at))
    return found
