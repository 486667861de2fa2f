"""
A user's level: locked before the applications it may rest on, and changed with its history.

Limits are counted by it; see ``limits.reservation``, which reads it behind a lock of its own.
"""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.events import Event
from domain.kyc import KycStatus, LevelCause
from domain.limits import UNVERIFIED_LEVEL
from events.outbox import publish
from models.kyc import KycApplication, KycLevel, KycLevelChange


async def locked_level(session: AsyncSession, user_id: str, *, at: datetime) -> KycLevel:
    """Return the user's level with its row locked until the unit of work ends."""
    await session.execute(
        insert(KycLevel)
        .values(user_id=user_id, level=UNVERIFIED_LEVEL, since=at)
        .on_conflict_do_nothing(index_elements=["user_id"])
    )
    return await session.get_one(KycLevel, user_id, with_for_update=True)


async def set_level(
    session: AsyncSession,
    row: KycLevel,
    level: int,
    *,
    rests_on: KycApplication | None,
    cause: LevelCause,
    because_of: KycApplication,
    decision_id: str | None = None,
    clock: Clock,
) -> None:
    """Change a locked level, note it, and tell the user; the same level may get another ground."""
    before = row.level
    row.level = level
    row.application_id = rests_on.id if rests_on and level > UNVERIFIED_LEVEL else None
    session.add(row)
    if level == before:
        return
    row.since = clock.now()
    session.add(
        KycLevelChange(
            user_id=row.user_id,
            level_before=before,
            level_after=level,
            cause=cause,
            application_id=because_of.id,
            decision_id=decision_id,
            at=clock.now(),
        )
    )
    data = {"level_before": before, "level_after": level, "cause": cause.value}
    await publish(session, Event(row.user_id, "kyc_level.changed", because_of.id, data))


async def granting(session: AsyncSession, user_id: str, *, at: datetime) -> list[KycApplication]:
    """Return the user's approved applications that have not lapsed, locked, the best one first."""
    found = await session.exec(
        select(KycApplication)
        .where(
            KycApplication.user_id == user_id,
            KycApplication.status == KycStatus.APPROVED,
            col(KycApplication.documents_expire_at).is_(None)
            | (col(KycApplication.documents_expire_at) > at),
        )
        .order_by(col(KycApplication.id))
        .with_for_update()
    )
    return sorted(found, key=lambda a: (a.granted_level or 0, a.created_at), reverse=True)
