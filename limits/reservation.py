"""
Using a limit, in the unit of work that freezes or moves the money.

Reserve **before** the ledger posts: the lock on a user's operation comes before every lock of the
ledger, and is kept until the commit. A unit of work that reserves more than once does so in the
order of user and operation. Giving back locks nothing, so it may come at any time.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, literal, or_, true
from sqlalchemy import select as any_select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import InvariantError, LimitExceededError
from domain.limits import LimitStanding, Operation
from domain.money import format_units
from limits.documents import limits_of
from limits.usage import counted, freed_at, uses_of
from models.columns import MINOR_UNITS
from models.limits import LimitLock, LimitUsage
from models.wallets import Asset


async def reserve(
    session: AsyncSession,
    *,
    user_id: str,
    operation: Operation,
    asset: str,
    amount_minor: int,
    at: datetime,
    times: int = 1,
    hold_id: str | None,
    resource_id: str,
) -> None:
    """
    Count an operation against its user's limits; the same one again counts nothing more.

    The database gives it back when the hold is released or expires as a whole. What ends otherwise
    (a part of a hold, money that had no hold) is given back by ``give_back``.

    Raises:
        LimitExceededError: Some limit of the user's level would be passed; its detail says which,
            what remains and when there is enough again. Nothing is counted.
    """
    if amount_minor < 0 or times < 1:
        msg = "A reservation counts at least one operation, and no negative amount."
        raise InvariantError(msg)
    await _lock(session, user_id, operation)
    key = f"{operation}:{resource_id}:{hold_id or ''}"
    if (await session.exec(select(LimitUsage.id).where(LimitUsage.key == key))).first():
        return
    # Read behind the lock: whoever had it before has committed what they used.
    await check_limits(
        session,
        user_id=user_id,
        operation=operation,
        asset=asset,
        amount_minor=amount_minor,
        at=at,
        times=times,
    )
    session.add(
        LimitUsage(
            key=key,
            user_id=user_id,
            operation=operation,
            asset=asset,
            amount_minor=amount_minor,
            times=times,
            hold_id=hold_id,
            resource_id=resource_id,
            at=at,
        )
    )
    await session.flush()


async def check_limits(
    session: AsyncSession,
    *,
    user_id: str,
    operation: Operation,
    asset: str,
    amount_minor: int,
    at: datetime,
    times: int = 1,
) -> None:
    """
    Pass if a reservation would, were it made now by nobody else; nothing is locked or counted.

    Raises:
        LimitExceededError: As ``reserve`` raises it.
    """
    limits = [row for row in await limits_of(session, user_id, operation) if row.counts(asset)]
    if not limits:
        return
    uses = await uses_of(session, user_id, operation=operation, at=at)
    for limit in limits:
        used_count, used_minor = counted(uses, limit)
        excess_count = _excess(limit.count, used_count + times)
        excess_minor = _excess(limit.amount_cap_minor, used_minor + amount_minor)
        if excess_count or excess_minor:
            standing = LimitStanding(limit, used_count, used_minor, None)
            again_at = await freed_at(
                session, user_id, limit, at=at, count=excess_count, amount_minor=excess_minor
            )
            raise LimitExceededError(await _refusal(session, standing, again_at))


async def is_reserved(session: AsyncSession, resource_id: str) -> bool:
    """Tell whether anything that was reserved for this resource is still in use."""
    found = await session.exec(
        select(func.coalesce(func.sum(LimitUsage.times), 0)).where(
            LimitUsage.resource_id == resource_id
        )
    )
    return int(found.one()) > 0


async def give_back(session: AsyncSession, resource_id: str) -> None:
    """Give back all that was reserved for this resource and is still in use."""
    in_use = func.sum(LimitUsage.amount_minor), func.sum(LimitUsage.times)
    # The key that the database uses when a hold ends: once, whoever comes first.
    key = literal("back:").concat(func.min(LimitUsage.key).filter(col(LimitUsage.times) > 0))
    await _insert(
        session,
        any_select(key, *_WHOSE, *(-total for total in in_use), func.clock_timestamp())
        .where(col(LimitUsage.resource_id) == resource_id)
        .group_by(*_WHOSE)
        .having(or_(*(total != 0 for total in in_use))),
    )


async def give_back_part(
    session: AsyncSession, resource_id: str, *, key: str, amount_minor: int, times: int
) -> None:
    """Give back a part of what was reserved for this resource, once for this ``key``."""
    part = (literal(-amount_minor, MINOR_UNITS), literal(-times), func.clock_timestamp())
    await _insert(
        session,
        any_select(literal(f"part:{key}"), *_WHOSE, *part)
        .where(col(LimitUsage.resource_id) == resource_id, col(LimitUsage.times) > 0)
        .limit(1),
    )


async def give_back_each(
    session: AsyncSession, resource_id: str, amounts_minor: Mapping[str, int]
) -> None:
    """Do as ``give_back_part``, for many parts of one resource at once, each of one time."""
    keys = bindparam("keys", [f"part:{key}" for key in amounts_minor], ARRAY(String))
    amounts = bindparam("amounts", list(amounts_minor.values()), ARRAY(MINOR_UNITS))
    parts = func.unnest(keys, amounts).table_valued("key", "minor").render_derived(name="parts")
    whose = (
        any_select(*_WHOSE)
        .where(col(LimitUsage.resource_id) == resource_id, col(LimitUsage.times) > 0)
        .limit(1)
        .subquery("whose")
    )
    given = (-parts.c.minor, literal(-1), func.clock_timestamp())
    await _insert(session, any_select(parts.c.key, *whose.c, *given).join(whose, true()))


_WHOSE_NAMES = ("user_id", "operation", "asset", "hold_id", "resource_id", "at")
_WHOSE = tuple(LimitUsage.__table__.c[name] for name in _WHOSE_NAMES)  # type: ignore[attr-defined]


async def _insert(session: AsyncSession, rows: Select[*tuple[Any, ...]]) -> None:
    names = ["key", *_WHOSE_NAMES, "amount_minor", "times", "recorded_at"]
    await session.execute(
        insert(LimitUsage).from_select(names, rows).on_conflict_do_nothing(index_elements=["key"])
    )


async def _lock(session: AsyncSession, user_id: str, operation: Operation) -> None:
    taken = {"reservations": col(LimitLock.reservations) + 1}
    await session.execute(
        insert(LimitLock)
        .values(user_id=user_id, operation=operation, reservations=1)
        .on_conflict_do_update(index_elements=["user_id", "operation"], set_=taken)
    )


def _excess(cap: int | None, wanted: int) -> int:
    return 0 if cap is None else max(0, wanted - cap)


async def _refusal(
    session: AsyncSession, standing: LimitStanding, again_at: datetime | None
) -> str:
    """Say which limit it is, what remains of it, and when there is enough of it again."""
    limit = standing.limit
    remains = []
    if standing.remaining_count is not None:
        remains.append(f"{standing.remaining_count} of {limit.count} operations")
    if standing.remaining_minor is not None and limit.amount_cap_minor is not None:
        asset = await session.get(Asset, limit.asset)
        decimals = asset.decimals if asset else 0
        left = format_units(standing.remaining_minor, decimals=decimals)
        cap = format_units(limit.amount_cap_minor, decimals=decimals)
        remains.append(f"{left} of {cap} {limit.asset}")
    when = f"there is enough from {again_at:%Y-%m-%dT%H:%M:%SZ} on" if again_at else "never enough"
    return f"The limit {limit.name} of level {limit.level} leaves {' and '.join(remains)}; {when}."
