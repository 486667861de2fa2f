"""Limits on test books: a table, a user's level, and holds that use them."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from domain.errors import DatabaseUnavailableError, LimitExceededError
from domain.limits import LimitStanding, Operation, parse_limits
from ledger import rules
from ledger.service import Ledger
from limits.documents import store_limits
from limits.reservation import reserve
from limits.standing import standing
from tests.support.books import Books

DEADLOCK = "40P01"


def row(level: int = 0, *, asset: str = "ETH", window: str = "24h", **caps: Any) -> dict[str, Any]:
    """Return a row that caps payouts."""
    operation = caps.pop("operation", Operation.PAYOUT)
    return {"level": level, "operation": operation, "asset": asset, "window": window, **caps}


async def set_limits(books: Books, *rows: Mapping[str, Any]) -> None:
    async with books.owner.transaction() as session:
        await store_limits(session, parse_limits({"limits": list(rows)}), by=None)


async def set_level(books: Books, level: int, user_id: str = "u1") -> None:
    """Give a user a level that nobody approved, which only a test can."""
    await books.tamper(
        "INSERT INTO kyc_level (user_id, level, since)"  # noqa: S608
        f" VALUES ('{user_id}', {level}, '{books.clock.now().isoformat()}')"
        " ON CONFLICT (user_id) DO UPDATE SET level = excluded.level"
    )


async def frozen(
    books: Books,
    resource_id: str,
    amount_minor: int,
    *,
    user_id: str = "u1",
    asset: str = "ETH",
    operation: Operation = Operation.PAYOUT,
    at: datetime | None = None,
) -> bool:
    """Reserve and hold as the worker's role, in one unit of work; False if a limit refuses."""
    at = at or books.clock.now()
    posting = rules.payout_freeze(
        payout_id=resource_id,
        hold_id=f"hold-{resource_id}",
        user_id=user_id,
        asset=asset,
        total_minor=amount_minor,
        limits=(),
        expires_at=None,
        at=at,
    )
    try:
        async with books.worker.transaction() as session:
            await reserve(
                session,
                user_id=user_id,
                operation=operation,
                asset=asset,
                amount_minor=amount_minor,
                at=at,
                hold_id=f"hold-{resource_id}",
                resource_id=resource_id,
            )
            await Ledger.post_in(session, [posting])
    except LimitExceededError:
        return False
    return True


async def patiently[Answer](ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again while there is no connection to be had; a deadlock is a failure."""
    while True:
        try:
            return await ask()
        except DatabaseUnavailableError as error:
            cause = getattr(error.__cause__, "orig", error.__cause__)
            if getattr(cause, "sqlstate", None) == DEADLOCK:
                raise


async def release(
    books: Books,
    resource_id: str,
    amount_minor: int,
    *,
    user_id: str = "u1",
    asset: str = "ETH",
    is_expiry: bool = False,
) -> None:
    await books.ledger.post(
        rules.payout_release(
            payout_id=resource_id,
            hold_id=f"hold-{resource_id}",
            user_id=user_id,
            asset=asset,
            total_minor=amount_minor,
            is_expiry=is_expiry,
            at=books.clock.now(),
        )
    )


async def standings(books: Books, user_id: str = "u1", **narrowed: Any) -> list[LimitStanding]:
    async with books.worker.transaction() as session:
        return await standing(session, user_id, at=books.clock.now(), **narrowed)


async def used(books: Books, user_id: str = "u1") -> list[tuple[int, int | None]]:
    """Return count and amount in use of each limit, in the table's order."""
    return [(one.used_count, one.used_minor) for one in await standings(books, user_id)]
