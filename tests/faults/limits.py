"""What is in use of limits, against the payouts that use them."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

_MISCOUNTED = text("""
    WITH used AS (
        SELECT user_id, asset, sum(amount_minor) AS amount, sum(times) AS times
        FROM limit_usage WHERE operation = 'payout' GROUP BY 1, 2
    ), paid AS (
        SELECT user_id, asset, sum(amount_minor) AS amount, count(*) AS times
        FROM payout
        WHERE status NOT IN ('refused', 'rejected', 'cancelled', 'expired', 'refunded')
        GROUP BY 1, 2
    )
    SELECT user_id, asset, used.amount, used.times, paid.amount, paid.times
    FROM used FULL JOIN paid USING (user_id, asset)
    WHERE (coalesce(used.amount, 0), coalesce(used.times, 0))
       <> (coalesce(paid.amount, 0), coalesce(paid.times, 0))
""")


async def miscounted(session: AsyncSession) -> list[str]:
    """Return where use and payouts differ; nothing that was given back counts, all else does."""
    found = await session.execute(_MISCOUNTED)
    return [
        f"the limits of {user} say {times} payouts of {amount} {asset}; there are {n} of {paid}"
        for user, asset, amount, times, paid, n in found
    ]
