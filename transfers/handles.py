"""Handles: ``@ada`` instead of a user id. One per user, and nobody gets another's for a year."""

from datetime import datetime

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import HandleCoolingDownError, HandleNotFoundError, HandleTakenError
from domain.transfers import HANDLE_COOLDOWN, HANDLE_KEPT, claimable_handle
from models.transfers import UserHandle


async def choose(session: AsyncSession, user_id: str, text: str, *, now: datetime) -> UserHandle:
    """
    Give a user this handle instead of the one they have; another spelling of that is free.

    Raises:
        InvalidHandleError: Malformed or reserved.
        HandleCoolingDownError: The present one was chosen less than ``HANDLE_COOLDOWN`` ago.
        HandleTakenError: It is somebody's, or was within ``HANDLE_KEPT``.
    """
    name = claimable_handle(text)
    # Two first choices of one user would both find none; and rows are locked in order of their
    # names, so that two users who want each other's do not wait for ever.
    await session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(user_id, 1))))
    current = await _current(session, user_id)
    await session.exec(
        select(UserHandle.name)
        .where(col(UserHandle.name).in_({name, current.name if current else name}))
        .order_by(col(UserHandle.name))
        .with_for_update()
    )
    if current is not None and current.name == name:
        current.shown = text
        return current
    if current is not None:
        usable_from = current.claimed_at + HANDLE_COOLDOWN
        if now < usable_from:
            msg = f"It can be changed from {usable_from:%Y-%m-%d %H:%M} UTC on."
            raise HandleCoolingDownError(msg)
        current.released_at = now
        await session.flush()
    return await _claim(session, user_id, name, text, now=now)


async def chosen(session: AsyncSession, user_id: str) -> UserHandle:
    """
    Return a user's handle.

    Raises:
        HandleNotFoundError: They have chosen none.
    """
    current = await _current(session, user_id)
    if current is None:
        raise HandleNotFoundError
    return current


async def _current(session: AsyncSession, user_id: str) -> UserHandle | None:
    found = await session.exec(
        select(UserHandle).where(
            UserHandle.user_id == user_id, col(UserHandle.released_at).is_(None)
        )
    )
    return found.one_or_none()


async def _claim(
    session: AsyncSession, user_id: str, name: str, shown: str, *, now: datetime
) -> UserHandle:
    fresh = {"shown": shown, "user_id": user_id, "claimed_at": now, "released_at": None}
    claimed = await session.exec(
        insert(UserHandle)
        .values(name=name, **fresh)
        .on_conflict_do_nothing()
        .returning(col(UserHandle.name))
    )
    if claimed.one_or_none() is None:
        # It was given up long enough ago, or by this very user.
        taken_over = await session.exec(
            update(UserHandle)
            .where(
                col(UserHandle.name) == name,
                col(UserHandle.released_at).is_not(None),
                (col(UserHandle.user_id) == user_id)
                | (col(UserHandle.released_at) <= now - HANDLE_KEPT),
            )
            .values(**fresh)
            .returning(col(UserHandle.name))
        )
        if taken_over.one_or_none() is None:
            raise HandleTakenError
    return await session.get_one(UserHandle, name, populate_existing=True)
