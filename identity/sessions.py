"""Logins: opaque bearer tokens ``srs_…`` that end by time or by revocation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import col, select, update

from domain.clock import Clock
from domain.errors import NotFoundError, SessionExpiredError
from domain.ids import SESSION, new_id
from identity.principals import Principal
from identity.tokens import SESSION_PREFIX, digest, new_secret
from infra.database import Database
from infra.paging import Page, paged
from models.identity import Role, SecondFactor, User, UserSession


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A new login; the token is not kept anywhere."""

    session: UserSession
    token: str


class Sessions:
    """Opens, resolves and revokes logins."""

    def __init__(self, database: Database, clock: Clock, *, lifetime: timedelta) -> None:
        """Take how long a login lasts."""
        self._database = database
        self._clock = clock
        self._lifetime = lifetime

    async def open(self, user_id: str) -> OpenedSession:
        """Log this user in; the caller has checked the password."""
        token, now = SESSION_PREFIX + new_secret(), self._clock.now()
        row = UserSession(
            id=new_id(SESSION),
            user_id=user_id,
            token_hash=digest(token),
            created_at=now,
            expires_at=now + self._lifetime,
        )
        async with self._database.transaction() as session:
            session.add(row)
        return OpenedSession(row, token)

    async def resolve(self, token: str) -> Principal:
        """
        Return who holds this token, with the roles of this very moment.

        Raises:
            SessionExpiredError: Over, revoked, never issued, or its user is disabled.
        """
        query = (
            select(UserSession.id, User.id, User.roles, SecondFactor.enabled_at)
            .join(User, col(User.id) == col(UserSession.user_id))
            .outerjoin(SecondFactor, col(SecondFactor.user_id) == col(User.id))
            .where(
                UserSession.token_hash == digest(token),
                col(UserSession.revoked_at).is_(None),
                col(UserSession.expires_at) > self._clock.now(),
                col(User.disabled_at).is_(None),
            )
        )
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise SessionExpiredError
        session_id, user_id, roles, enabled_at = row
        return Principal(
            user_id=user_id,
            principal_id=user_id,
            roles=frozenset(Role(role) for role in roles),
            session_id=session_id,
            second_factor_enabled=enabled_at is not None,
        )

    async def of_user(self, user_id: str, page: Page) -> Sequence[UserSession]:
        """Return the user's living logins, newest first, and one row more than the page holds."""
        query = select(UserSession).where(
            UserSession.user_id == user_id,
            col(UserSession.revoked_at).is_(None),
            col(UserSession.expires_at) > self._clock.now(),
        )
        query = paged(query, page, created_at=UserSession.created_at, row_id=UserSession.id)
        async with self._database.transaction() as session:
            return (await session.exec(query)).all()

    async def revoke(self, user_id: str, session_id: str) -> None:
        """
        End one login; ending it again is fine.

        Raises:
            NotFoundError: No such login of this user.
        """
        async with self._database.transaction() as session:
            row = await session.get(UserSession, session_id)
            if row is None or row.user_id != user_id:
                msg = "No such session."
                raise NotFoundError(msg)
            row.revoked_at = row.revoked_at or self._clock.now()

    async def revoke_all(self, user_id: str) -> None:
        """End every login of this user."""
        async with self._database.transaction() as session:
            await session.exec(
                update(UserSession)
                .where(col(UserSession.user_id) == user_id, col(UserSession.revoked_at).is_(None))
                .values(revoked_at=self._clock.now())
            )
