"""API keys ``srk_<id>.<secret>``: how a program acts for its user, within scopes."""

import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select

from domain.clock import Clock
from domain.errors import NotFoundError, SessionExpiredError, ValidationError
from domain.ids import API_KEY, new_id
from identity.principals import Principal
from identity.tokens import API_KEY_PREFIX, digest, new_secret
from infra.database import Database
from infra.paging import Page, paged
from models.identity import ApiKey, Role, Scope, SecondFactor, User

_TOKEN = re.compile(r"srk_(?P<id>[0-9A-HJKMNP-TV-Z]{26})\.(?P<secret>[A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class IssuedApiKey:
    """A new key; the token is not kept anywhere."""

    key: ApiKey
    token: str


class ApiKeys:
    """Issues, resolves and revokes API keys."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take the database and the time."""
        self._database = database
        self._clock = clock

    async def issue(
        self, user_id: str, *, name: str, scopes: Collection[Scope], expires_at: datetime | None
    ) -> IssuedApiKey:
        """
        Create a key for this user; ``expires_at`` None lasts until it is revoked.

        Raises:
            ValidationError: It would be over before it begins.
        """
        now, secret = self._clock.now(), new_secret()
        if expires_at is not None and expires_at <= now:
            message = "Lies in the past."
            raise ValidationError(message, errors=[{"field": "expires_at", "message": message}])
        row = ApiKey(
            id=new_id(API_KEY),
            user_id=user_id,
            name=name,
            secret_hash=digest(secret),
            scopes=sorted(set(scopes)),
            created_at=now,
            expires_at=expires_at,
        )
        async with self._database.transaction() as session:
            session.add(row)
        return IssuedApiKey(row, f"{API_KEY_PREFIX}{row.id.removeprefix(f'{API_KEY}_')}.{secret}")

    async def resolve(self, token: str) -> Principal:
        """
        Return for whom this key acts, and within which scopes.

        Raises:
            SessionExpiredError: Over, revoked, never issued, or its user is disabled.
        """
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            raise SessionExpiredError
        query = (
            select(ApiKey.id, ApiKey.secret_hash, ApiKey.scopes, User.id)
            .add_columns(col(User.roles), col(SecondFactor.enabled_at))
            .join(User, col(User.id) == col(ApiKey.user_id))
            .outerjoin(SecondFactor, col(SecondFactor.user_id) == col(User.id))
            .where(
                col(ApiKey.id) == f"{API_KEY}_{parts['id']}",
                col(ApiKey.revoked_at).is_(None),
                col(ApiKey.expires_at).is_(None) | (col(ApiKey.expires_at) > self._clock.now()),
                col(User.disabled_at).is_(None),
            )
        )
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise SessionExpiredError
        key_id, secret_hash, scopes, user_id, roles, enabled_at = row
        if not hmac.compare_digest(secret_hash, digest(parts["secret"])):
            raise SessionExpiredError
        return Principal(
            user_id=user_id,
            principal_id=key_id,
            roles=frozenset(Role(role) for role in roles),
            scopes=frozenset(Scope(scope) for scope in scopes),
            second_factor_enabled=enabled_at is not None,
        )

    async def of_user(self, user_id: str, page: Page) -> Sequence[ApiKey]:
        """Return the user's keys, ended ones too, newest first, and one row more than the page."""
        query = select(ApiKey).where(ApiKey.user_id == user_id)
        query = paged(query, page, created_at=ApiKey.created_at, row_id=ApiKey.id)
        async with self._database.transaction() as session:
            return (await session.exec(query)).all()

    async def revoke(self, user_id: str, key_id: str) -> None:
        """
        End a key; ending it again is fine.

        Raises:
            NotFoundError: No such key of this user.
        """
        async with self._database.transaction() as session:
            row = await session.get(ApiKey, key_id)
            if row is None or row.user_id != user_id:
                msg = "No such API key."
                raise NotFoundError(msg)
            row.revoked_at = row.revoked_at or self._clock.now()
