"""What must not leave for now: money of frozen customers, and what screening denies."""

from collections.abc import Collection

from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.freezes import frozen_among
from models.payouts import Payout
from payouts.screening import denied_among

FROZEN = "outgoing operations are frozen"
DENIED = "its destination is denied by screening"


async def held_back(session: AsyncSession, payouts: Collection[Payout]) -> dict[str, str]:
    """Return which of these payouts must not leave now, by id, and why."""
    frozen = await frozen_among(session, {payout.user_id for payout in payouts})
    denied = await denied_among(session, payouts)
    why = {payout.id: DENIED for payout in payouts if payout.id in denied}
    return why | {payout.id: FROZEN for payout in payouts if payout.user_id in frozen}
