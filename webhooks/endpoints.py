"""Webhook endpoints of users: adding, changing, removing them, and their secrets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    UnknownEventTypeError,
    WebhookEndpointLimitError,
    WebhookEndpointNotFoundError,
)
from domain.events import KINDS
from domain.ids import WEBHOOK_ENDPOINT, new_id
from domain.webhooks import EVERY_KIND, DisabledReason
from infra.database import Database
from infra.keyring import Keyring
from infra.paging import Page, paged
from models.identity import User
from models.webhooks import WebhookEndpoint
from webhooks.addresses import check_url
from webhooks.secrets import new_secret, sealed


@dataclass(frozen=True, slots=True)
class IssuedSecret:
    """An endpoint and its new secret, which is shown this once."""

    endpoint: WebhookEndpoint
    secret: str


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """What is to be different; None leaves it as it is."""

    description: str | None = None
    kinds: Sequence[str] | None = None
    is_enabled: bool | None = None


class WebhookEndpoints:
    """Keeps endpoints, each for its user alone."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keyring: Keyring,
        *,
        allows_loopback: bool,
        endpoints_max: int,
    ) -> None:
        """Take the database as the API's role, and the keys that seal secrets."""
        self._database = database
        self._clock = clock
        self._keyring = keyring
        self._allows_loopback = allows_loopback
        self._endpoints_max = endpoints_max

    async def add(
        self, user_id: str, *, url: str, kinds: Sequence[str], description: str | None
    ) -> IssuedSecret:
        """
        Add an endpoint.

        Raises:
            InvalidWebhookUrlError, UnknownEventTypeError: It could never get anything.
            WebhookEndpointLimitError: The user has enough of them.
        """
        check_url(url, allows_loopback=self._allows_loopback)
        _check_kinds(kinds)
        secret, endpoint_id = new_secret(), new_id(WEBHOOK_ENDPOINT)
        async with self._database.transaction() as session:
            # One at a time, or two would both be the last that is allowed.
            await session.get(User, user_id, with_for_update=True)
            count = await session.exec(
                select(func.count()).select_from(WebhookEndpoint).where(*_of(user_id))
            )
            if count.one() >= self._endpoints_max:
                raise WebhookEndpointLimitError
            endpoint = WebhookEndpoint(
                id=endpoint_id,
                user_id=user_id,
                url=url,
                description=description,
                kinds=list(kinds),
                sealed_secret=sealed(self._keyring, secret, endpoint_id=endpoint_id),
                created_at=self._clock.now(),
                updated_at=self._clock.now(),
            )
            session.add(endpoint)
        return IssuedSecret(endpoint, secret)

    async def of_user(self, user_id: str, page: Page) -> Sequence[WebhookEndpoint]:
        """Return a page of the user's endpoints, newest first, and the one after it."""
        query = paged(
            select(WebhookEndpoint).where(*_of(user_id)),
            page,
            created_at=WebhookEndpoint.created_at,
            row_id=WebhookEndpoint.id,
        )
        async with self._database.transaction() as session:
            return (await session.exec(query)).all()

    async def one(self, user_id: str, endpoint_id: str) -> WebhookEndpoint:
        """Return an endpoint of the user, or raise WebhookEndpointNotFoundError."""
        async with self._database.transaction() as session:
            return await endpoint_of(session, user_id, endpoint_id)

    async def change(
        self, user_id: str, endpoint_id: str, change: EndpointChange
    ) -> WebhookEndpoint:
        """
        Change an endpoint; one that is enabled again is given days anew.

        Raises:
            WebhookEndpointNotFoundError: The user has none of that id.
            UnknownEventTypeError: No event is of such a type.
        """
        if change.kinds is not None:
            _check_kinds(change.kinds)
        async with self._database.transaction() as session:
            endpoint = await endpoint_of(session, user_id, endpoint_id, is_locked=True)
            if change.description is not None:
                endpoint.description = change.description
            if change.kinds is not None:
                endpoint.kinds = list(change.kinds)
            if change.is_enabled:
                endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = None
            elif change.is_enabled is False and endpoint.disabled_at is None:
                endpoint.disabled_at = self._clock.now()
                endpoint.disabled_reason = DisabledReason.BY_USER
            endpoint.updated_at = self._clock.now()
            session.add(endpoint)
            return endpoint

    async def rotate(self, user_id: str, endpoint_id: str, *, overlap: timedelta) -> IssuedSecret:
        """
        Give an endpoint a new secret; until the overlap is over messages are signed with both.

        Raises:
            WebhookEndpointNotFoundError: The user has none of that id.
        """
        secret, now = new_secret(), self._clock.now()
        async with self._database.transaction() as session:
            endpoint = await endpoint_of(session, user_id, endpoint_id, is_locked=True)
            endpoint.previous_sealed_secret = endpoint.sealed_secret
            endpoint.previous_secret_until = now + overlap
            endpoint.sealed_secret = sealed(self._keyring, secret, endpoint_id=endpoint.id)
            endpoint.updated_at = now
            session.add(endpoint)
        return IssuedSecret(endpoint, secret)

    async def remove(self, user_id: str, endpoint_id: str) -> None:
        """Remove an endpoint; what is on its way to it is cancelled at its next attempt."""
        async with self._database.transaction() as session:
            endpoint = await endpoint_of(session, user_id, endpoint_id, is_locked=True)
            endpoint.removed_at = endpoint.updated_at = self._clock.now()
            session.add(endpoint)


async def endpoint_of(
    session: AsyncSession, user_id: str, endpoint_id: str, *, is_locked: bool = False
) -> WebhookEndpoint:
    """
    Return an endpoint of the user.

    Raises:
        WebhookEndpointNotFoundError: There is none, or it is removed, or somebody else's.
    """
    query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, *_of(user_id))
    found = await session.exec(query.with_for_update() if is_locked else query)
    endpoint = found.first()
    if endpoint is None:
        raise WebhookEndpointNotFoundError
    return endpoint


def _of(user_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        col(WebhookEndpoint.user_id) == user_id,
        col(WebhookEndpoint.removed_at).is_(None),
    )


def _check_kinds(kinds: Sequence[str]) -> None:
    nouns = {f"{kind.partition('.')[0]}.*" for kind in KINDS}
    for kind in kinds:
        if kind not in KINDS and kind not in nouns and kind != EVERY_KIND:
            msg = f"No event has the type {kind!r}."
            raise UnknownEventTypeError(msg)
