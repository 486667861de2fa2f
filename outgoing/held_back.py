"""What must not leave for now: money of the frozen, what screening denies, disabled assets."""

from collections.abc import Collection

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.freezes import frozen_among
from models.payouts import Payout
from models.wallets import Asset
from payouts.screening import denied_among

FROZEN = "outgoing operations are frozen"
DISABLED = "its asset is disabled"
DENIED = "its destination is denied by screening"


async def held_back(session: AsyncSession, payouts: Collection[Payout]) -> dict[str, str]:
    """Return which of these payouts must not leave now, by id, and why."""
    frozen = await frozen_among(session, {payout.user_id for payout in payouts})
    denied = await denied_among(session, payouts)
    disabled = await _disabled_among(session, {payout.asset for payout in payouts})
    why = {payout.id: DISABLED for payout in payouts if payout.asset in disabled}
    why |= {payout.id: DENIED for payout in payouts if payout.id in denied}
    return why | {payout.id: FROZEN for payout in payouts if payout.user_id in frozen}


async def _disabled_among(session: AsyncSession, assets: Collection[str]) -> set[str]:
    found = await session.exec(
        select(Asset.code).where(col(Asset.code).in_(assets), ~col(Asset.enabled))
    )
    return set(found)
