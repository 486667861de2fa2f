"""What is in use of limits, against the payouts, transfers, purchases and mixes that use them."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

_MISCOUNTED = text("""
    WITH used AS (
        SELECT operation, user_id, asset, sum(amount_minor) AS amount, sum(times) AS times
        FROM limit_usage GROUP BY 1, 2, 3
    ), done AS (
        SELECT CASE route WHEN 'payout' THEN 'payout' ELSE 'send_onchain' END AS operation,
            user_id, asset, amount_minor
        FROM payout
        -- A mix is counted when its deposit is taken, not part by part.
        WHERE route IN ('payout', 'send') AND mix_id IS NULL
            AND status NOT IN ('refused', 'rejected', 'cancelled', 'expired', 'refunded')
        UNION ALL
        SELECT 'purchase', user_id, asset, amount_minor
        FROM purchase WHERE status NOT IN ('refused', 'cancelled', 'expired')
        UNION ALL
        SELECT 'mix', m.user_id, m.asset, l.amount_minor
        FROM mix_lot l JOIN mix m ON m.id = l.mix_id WHERE l.status = 'taken'
    ), counted AS (
        SELECT operation, user_id, asset, sum(amount_minor) AS amount, count(*) AS times
        FROM done GROUP BY 1, 2, 3
    )
    SELECT operation, user_id, asset, used.amount, used.times, counted.amount, counted.times
    FROM used FULL JOIN counted USING (operation, user_id, asset)
    WHERE (coalesce(used.amount, 0), coalesce(used.times, 0))
       <> (coalesce(counted.amount, 0), coalesce(counted.times, 0))
""")


async def miscounted(session: AsyncSession) -> list[str]:
    """Return where use and what was done differ; nothing that was given back counts."""
    found = await session.execute(_MISCOUNTED)
    return [
        f"the limits of {user} say {times} of {operation} of {amount} {asset}; there are {n} of"
        f" {done}"
        for operation, user, asset, amount, times, done, n in found
    ]
