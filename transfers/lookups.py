"""
Finding who can be paid, by handle or id, without letting anybody list who there is.

Each user has an allowance of lookups that refills with time; what is not found costs more than what
is. One moment per user is all the state (the generic cell rate algorithm). The caller holds the
user's lock, so that a thousand guesses at once are judged one after the other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import LookupThrottledError, RecipientNotFoundError, StrongroomError
from domain.transfers import Recipient, masked_name
from models.identity import User
from models.transfers import LookupThrottle, UserHandle

ALLOWANCE = timedelta(seconds=60)
"""How far ahead of the clock lookups may run."""

HIT_COST, MISS_COST = timedelta(seconds=2), timedelta(seconds=10)
"""Thirty that are found a minute, or six that are not."""


@dataclass(frozen=True, slots=True)
class Party:
    """A user who can be paid, and the little that a sender is shown of them."""

    user_id: str
    handle: str | None
    """As its user spells it."""
    masked_name: str


async def lock_user(session: AsyncSession, user_id: str) -> None:
    """Let one unit of work at a time send for a user, or look others up for them."""
    await session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(user_id, 2))))


async def look_up(
    session: AsyncSession,
    recipient: Recipient,
    *,
    by: str,
    now: datetime,
    hit_cost: timedelta = HIT_COST,
) -> Party | StrongroomError:
    """
    Return who this is; a refusal is returned too, to be raised after the commit of its cost.

    It is ``LookupThrottledError``, or ``RecipientNotFoundError`` for nobody, a disabled user, or a
    handle that was given up: not told which.
    """
    row = await session.get(LookupThrottle, by)
    busy_until = max(now, row.busy_until) if row else now
    wait = busy_until - now + MISS_COST - ALLOWANCE
    if wait > timedelta(0):
        return LookupThrottledError(retry_after_s=-(-wait // timedelta(seconds=1)))
    found = await find(session, recipient)
    cost = MISS_COST if found is None else hit_cost
    if cost:
        await _charge(session, by, busy_until + cost)
    return found or RecipientNotFoundError()


async def find(session: AsyncSession, recipient: Recipient) -> Party | None:
    """Return who this is, unless they cannot be paid; nobody's allowance is touched."""
    query = (
        select(User.id, User.email, UserHandle.shown)
        .outerjoin(
            UserHandle,
            (col(UserHandle.user_id) == col(User.id)) & col(UserHandle.released_at).is_(None),
        )
        .where(col(User.disabled_at).is_(None))
    )
    if recipient.handle is not None:
        query = query.where(UserHandle.name == recipient.handle)
    else:
        query = query.where(User.id == recipient.user_id)
    row = (await session.exec(query)).one_or_none()
    if row is None:
        return None
    user_id, email, handle = row
    return Party(user_id, handle, masked_name(email))


async def _charge(session: AsyncSession, user_id: str, busy_until: datetime) -> None:
    values = {"busy_until": busy_until}
    await session.exec(
        insert(LookupThrottle)
        .values(user_id=user_id, **values)
        .on_conflict_do_update(index_elements=["user_id"], set_=values)
    )
