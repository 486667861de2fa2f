"""Reading applications and levels, without what is sealed in them."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import KycApplicationNotFoundError, NotFoundError
from domain.kyc import OPEN_STATUSES, KycStatus
from infra.paging import Page, paged
from models.identity import User
from models.kyc import (
    KycApplication,
    KycApplicationEvent,
    KycDecision,
    KycLevel,
    KycLevelChange,
)


async def application_for(
    session: AsyncSession, application_id: str, *, user_id: str | None
) -> KycApplication:
    """
    Return the application; with a ``user_id``, only if it is theirs.

    Raises:
        KycApplicationNotFoundError: There is none, or it is somebody else's: the same answer.
    """
    application = await session.get(KycApplication, application_id)
    if application is None or user_id not in (None, application.user_id):
        raise KycApplicationNotFoundError
    return application


async def list_applications(
    session: AsyncSession, page: Page, *, user_id: str | None, status: KycStatus | None = None
) -> Sequence[KycApplication]:
    """Return applications, newest first, and one row more than the page holds."""
    query = select(KycApplication)
    if user_id is not None:
        query = query.where(KycApplication.user_id == user_id)
    if status is not None:
        query = query.where(KycApplication.status == status)
    query = paged(query, page, created_at=KycApplication.created_at, row_id=KycApplication.id)
    return (await session.exec(query)).all()


async def open_application(session: AsyncSession, user_id: str) -> KycApplication | None:
    """Return the user's application that is not decided on, if there is one."""
    found = await session.exec(
        select(KycApplication).where(
            KycApplication.user_id == user_id, col(KycApplication.status).in_(OPEN_STATUSES)
        )
    )
    return found.first()


async def events_of(session: AsyncSession, application_id: str) -> Sequence[KycApplicationEvent]:
    """Return an application's history, oldest first."""
    found = await session.exec(
        select(KycApplicationEvent)
        .where(KycApplicationEvent.application_id == application_id)
        .order_by(col(KycApplicationEvent.id))
    )
    return found.all()


async def decisions_on(session: AsyncSession, application_id: str) -> Sequence[KycDecision]:
    """Return what was decided on an application, oldest first."""
    found = await session.exec(
        select(KycDecision)
        .where(KycDecision.application_id == application_id)
        .order_by(col(KycDecision.decided_at), col(KycDecision.id))
    )
    return found.all()


async def level_row(session: AsyncSession, user_id: str) -> KycLevel | None:
    """Return a user's level; None for whoever never had one."""
    return await session.get(KycLevel, user_id)


async def level_changes(session: AsyncSession, user_id: str) -> Sequence[KycLevelChange]:
    """
    Return the history of a user's level, oldest first.

    Raises:
        NotFoundError: There is no such user.
    """
    known = await session.exec(select(User.id).where(User.id == user_id))
    if known.first() is None:
        msg = "No such user."
        raise NotFoundError(msg)
    found = await session.exec(
        select(KycLevelChange)
        .where(KycLevelChange.user_id == user_id)
        .order_by(col(KycLevelChange.id))
    )
    return found.all()
