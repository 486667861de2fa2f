"""Where a mix stands, and when to look again, from what the database says of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.deposits import DepositStatus
from domain.mixing.messages import DoleStatus, LotStatus, MixStanding, MixStatus
from domain.payouts import OPEN_STATUSES
from mixers.lots import deposits_of, lots_of
from models.mixing import Mix, MixDole
from models.payouts import Payout

RECHECK = timedelta(hours=1)
"""
A mix that waits for something looks again after this, should a signal ever be lost.

Nobody tells it either that its user is no longer frozen.
"""

STOPPED_RECHECK = timedelta(days=1)
"""While it is held or paused, which may last for months; that it may go on, it is told."""

PENDING = (DepositStatus.SEEN, DepositStatus.CONFIRMING)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database says of a mix now."""

    is_pending: bool
    """Something was seen that is not final yet."""
    has_undecided: bool
    """Something is booked that was not decided on: the mix is held."""
    taken: int
    refunded: int
    next_due_at: datetime | None
    """When the next part is to leave; it may be over already."""
    unsettled: int
    """Parts that have left, and have not ended yet."""


async def facts_of(session: AsyncSession, mix: Mix) -> Facts:
    """Read what there is to know of a mix."""
    deposits = await deposits_of(session, mix)
    lots = await lots_of(session, mix.id)
    decided = {lot.deposit_id for lot in lots}
    due = await session.exec(
        select(func.min(MixDole.due_at)).where(
            MixDole.mix_id == mix.id, MixDole.status == DoleStatus.PLANNED
        )
    )
    unsettled = await session.exec(
        select(func.count(col(Payout.id))).where(
            Payout.mix_id == mix.id, col(Payout.status).in_(OPEN_STATUSES)
        )
    )
    return Facts(
        is_pending=any(d.status in PENDING and not d.is_booked for d in deposits),
        has_undecided=any(d.is_booked and d.id not in decided for d in deposits),
        taken=sum(lot.status == LotStatus.TAKEN for lot in lots),
        refunded=sum(lot.status == LotStatus.REFUNDED for lot in lots),
        next_due_at=due.one(),
        unsettled=unsettled.one(),
    )


def status_of(mix: Mix, facts: Facts, *, now: datetime) -> MixStatus:
    """Return where a mix stands."""
    if mix.status == MixStatus.REFUSED:
        return MixStatus.REFUSED
    if mix.is_cancelled and not facts.taken:
        return MixStatus.CANCELLED
    if facts.taken:
        is_over = facts.next_due_at is None and not facts.unsettled
        return MixStatus.DONE if is_over else MixStatus.MIXING
    if facts.is_pending or facts.has_undecided:
        return MixStatus.CONFIRMING
    if now < mix.expires_at:
        return MixStatus.AWAITING_FUNDS
    return MixStatus.REFUNDED if facts.refunded else MixStatus.EXPIRED


def standing_of(mix: Mix, facts: Facts, *, now: datetime) -> MixStanding:
    """Return a mix's standing with when to look again; None where nothing is awaited."""
    moments: list[datetime] = []
    is_stopped = mix.hold_kind is not None or mix.paused_at is not None
    if facts.next_due_at is not None:
        # What is due and did not leave waits for a freeze to be lifted, or a debt to be paid.
        is_waiting = facts.next_due_at <= now
        moments.append(now + RECHECK if is_waiting else facts.next_due_at)
        if is_stopped:
            moments = [now + STOPPED_RECHECK]
    if facts.is_pending or facts.has_undecided or facts.unsettled:
        moments.append(now + RECHECK)
    status = MixStatus(mix.status)
    if status == MixStatus.AWAITING_FUNDS:
        moments.append(mix.expires_at)
    return MixStanding(mix.id, status, min(moments, default=None))
