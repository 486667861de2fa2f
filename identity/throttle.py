"""Slows down password guessing, per email; an unknown email is treated like a known one."""

from datetime import timedelta

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, select

from domain.clock import Clock
from domain.errors import LoginThrottledError
from identity.backoff import lock_duration, seconds_left
from infra.database import Database
from models.identity import LoginThrottle

LOCK_LONGEST = timedelta(minutes=15)
"""Short enough that a stranger cannot keep the rightful user out for long."""


class LoginThrottling:
    """Counts failed passwords."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take where failures are counted and the time."""
        self._database = database
        self._clock = clock

    async def charge(self, email: str) -> None:
        """
        Count an attempt as failed before its password is looked at.

        Counting afterwards would let a thousand parallel guesses pass before the first one counts.

        Raises:
            LoginThrottledError: This email is locked; the attempt does not count.
        """
        now = self._clock.now()
        async with self._database.transaction() as session:
            await session.exec(
                insert(LoginThrottle).values(email=email, failures=0).on_conflict_do_nothing()
            )
            query = select(LoginThrottle).where(LoginThrottle.email == email).with_for_update()
            row = (await session.exec(query)).one()
            wait_s = seconds_left(row.locked_until, now=now)
            if wait_s == 0:
                row.failures += 1
                # Set even while no wait is due: it dates the failure, for ``purge``.
                row.locked_until = now + lock_duration(row.failures, longest=LOCK_LONGEST)
        if wait_s > 0:
            raise LoginThrottledError(retry_after_s=wait_s)

    async def forgive(self, email: str) -> None:
        """Forget the failures: the password was right."""
        async with self._database.transaction() as session:
            await session.exec(delete(LoginThrottle).where(col(LoginThrottle.email) == email))

    async def purge(self, *, older_than: timedelta = timedelta(days=1)) -> None:
        """Forget failures this long after their last wait, so that the table stays small."""
        horizon = self._clock.now() - older_than
        async with self._database.transaction() as session:
            await session.exec(
                delete(LoginThrottle).where(col(LoginThrottle.locked_until) < horizon)
            )
