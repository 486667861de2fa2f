"""What must not leave for now: of the frozen, what screening denies, of disabled assets, held."""

from collections.abc import Collection

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.freezes import frozen_among
from models.mixing import Mix
from models.payouts import Payout
from models.wallets import Asset
from payouts.screening import denied_among

FROZEN = "outgoing operations are frozen"
DISABLED = "its asset is disabled"
DENIED = "its destination is denied by screening"
STOPPED = "the mix that it is a part of is paused or held"


async def held_back(session: AsyncSession, payouts: Collection[Payout]) -> dict[str, str]:
    """Return which of these payouts must not leave now, by id, and why."""
    frozen = await frozen_among(session, {payout.user_id for payout in payouts})
    denied = await denied_among(session, payouts)
    disabled = await _disabled_among(session, {payout.asset for payout in payouts})
    why = {payout.id: DISABLED for payout in payouts if payout.asset in disabled}
    stopped = await stopped_mixes_among(session, payouts)
    why |= {payout.id: STOPPED for payout in payouts if payout.mix_id in stopped}
    why |= {payout.id: DENIED for payout in payouts if payout.id in denied}
    return why | {payout.id: FROZEN for payout in payouts if payout.user_id in frozen}


async def stopped_mixes_among(session: AsyncSession, payouts: Collection[Payout]) -> set[str]:
    """Return the mixes that these payouts are parts of and that are paused or held."""
    mixes = {payout.mix_id for payout in payouts if payout.mix_id is not None}
    if not mixes:
        return set()
    found = await session.exec(
        select(Mix.id).where(
            col(Mix.id).in_(mixes),
            col(Mix.hold_kind).is_not(None) | col(Mix.paused_at).is_not(None),
        )
    )
    return set(found)


async def _disabled_among(session: AsyncSession, assets: Collection[str]) -> set[str]:
    found = await session.exec(
        select(Asset.code).where(col(Asset.code).in_(assets), ~col(Asset.enabled))
    )
    return set(found)
