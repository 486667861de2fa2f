"""Changing an application's status, always with a line of its history and an event."""

import logging
from collections.abc import Sequence

from sqlalchemy import any_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.events import Event, Json
from domain.kyc import KycStatus
from events.outbox import publish
from models.identity import Role, User
from models.kyc import KycApplication, KycApplicationEvent

_log = logging.getLogger(__name__)


async def move(
    session: AsyncSession,
    application: KycApplication,
    status: KycStatus,
    *,
    clock: Clock,
    detail: str | None = None,
) -> None:
    """Set an application's status, note it in its history, and tell its user."""
    application.status, application.updated_at = status, clock.now()
    session.add(application)
    session.add(
        KycApplicationEvent(
            application_id=application.id, status=status, detail=detail, at=clock.now()
        )
    )
    data: dict[str, Json] = {"level": application.level}
    if detail is not None:
        data["detail"] = detail
    await publish(
        session, Event(application.user_id, f"kyc_application.{status}", application.id, data)
    )


async def tell(session: AsyncSession, application: KycApplication, kind: str) -> None:
    """Tell an application's user something that changes no status."""
    data = {"level": application.level}
    await publish(session, Event(application.user_id, kind, application.id, data))


async def tell_reviewers(session: AsyncSession, application: KycApplication, kind: str) -> None:
    """Tell everybody who may decide that an application awaits it."""
    reviewers = await _reviewers(session, application.user_id)
    _log.info("%s awaits one of %s reviewers (%s)", application.id, len(reviewers), kind)
    data: dict[str, Json] = {
        "level": application.level,
        "awaits_since": application.updated_at.isoformat(),
    }
    await publish(session, *(Event(user_id, kind, application.id, data) for user_id in reviewers))


async def _reviewers(session: AsyncSession, applicant_id: str) -> Sequence[str]:
    found = await session.exec(
        select(User.id)
        .where(
            any_(col(User.roles)) == Role.APPROVER,
            col(User.disabled_at).is_(None),
            User.id != applicant_id,
        )
        .order_by(User.id)
    )
    return found.all()
