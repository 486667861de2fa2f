"""``domain.webhooks.WebhookDesk``: dispatch and attempts, on PostgreSQL and the network."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import WebhookEndpointBusyError
from domain.webhooks import DeliveryStanding, DeliveryStatus
from infra.database import Database
from infra.keyring import Keyring
from models.events import OutboxEvent
from models.webhooks import WebhookDelivery, WebhookEndpoint
from webhooks.attempts import record_attempt
from webhooks.dispatch import dispatch
from webhooks.message import Message, message_of
from webhooks.secrets import opened
from webhooks.sender import WebhookSender

AT_ONCE_MAX = 4
"""Deliveries to one endpoint that a process has on the wire: a slow one keeps few slots busy."""

OF_USER_MAX = 8
"""The same, to all endpoints of one user."""

IN_ALL_MAX = 25
"""The same, to all: half of what its worker does at once is kept for cards and rates."""

_ALL = ""


@dataclass(frozen=True, slots=True)
class _Parcel:
    endpoint_id: str
    user_id: str
    url: str
    message: Message


class PostgresWebhookDesk:
    """Makes deliveries and sends them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keyring: Keyring,
        *,
        sender: WebhookSender,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take the database as the worker's role, and the keys that open endpoints' secrets."""
        self._database = database
        self._clock = clock
        self._keyring = keyring
        self._sender = sender
        self._chance = chance
        self._on_the_wire = Counter[str]()

    async def dispatch(self) -> int:
        """Make deliveries of what was told since the last time; return how many events it saw."""
        async with self._database.transaction() as session:
            return await dispatch(session, self._clock)

    async def unstarted(self, *, limit: int) -> Sequence[str]:
        """Return deliveries whose workflow may not run yet, oldest first."""
        async with self._database.transaction() as session:
            found = await session.exec(
                select(WebhookDelivery.id)
                .where(col(WebhookDelivery.started_at).is_(None))
                .order_by(col(WebhookDelivery.created_at), col(WebhookDelivery.id))
                .limit(limit)
            )
            return found.all()

    async def note_started(self, delivery_ids: Sequence[str]) -> None:
        """Note that these deliveries' workflows run."""
        async with self._database.transaction() as session:
            await session.execute(
                update(WebhookDelivery)
                .where(col(WebhookDelivery.id).in_(delivery_ids))
                .values(started_at=self._clock.now())
            )

    async def attempt(self, delivery_id: str) -> DeliveryStanding:
        """
        Send a delivery once, unless it has ended, and say where it stands.

        Whoever dies between sending and noting it sends it again: receivers know it by its id.

        Raises:
            WebhookEndpointBusyError: As many are on the wire as may be, to the endpoint, to its
                user, or in all.
        """
        async with self._database.transaction() as session:
            prepared = await self._prepare(session, delivery_id)
        if isinstance(prepared, DeliveryStanding):
            return prepared
        with self._slot(prepared):
            message = prepared.message
            answer = await self._sender.post(prepared.url, message.body, message.headers)
        async with self._database.transaction() as session:
            return await record_attempt(
                session, delivery_id, answer, clock=self._clock, chance=self._chance()
            )

    @contextmanager
    def _slot(self, parcel: _Parcel) -> Iterator[None]:
        """Count one more on the wire inside the block."""
        most = {parcel.endpoint_id: AT_ONCE_MAX, parcel.user_id: OF_USER_MAX, _ALL: IN_ALL_MAX}
        if any(self._on_the_wire[of] >= count for of, count in most.items()):
            raise WebhookEndpointBusyError
        self._on_the_wire.update(most.keys())
        try:
            yield
        finally:
            self._on_the_wire.subtract(most.keys())
            self._on_the_wire += Counter()

    async def _prepare(
        self, session: AsyncSession, delivery_id: str
    ) -> "_Parcel | DeliveryStanding":
        delivery = await session.get_one(WebhookDelivery, delivery_id, with_for_update=True)
        endpoint = await session.get_one(WebhookEndpoint, delivery.endpoint_id)
        if delivery.status != DeliveryStatus.PENDING:
            return _standing(delivery)
        if endpoint.disabled_at is not None or endpoint.removed_at is not None:
            delivery.status, delivery.ended_at = DeliveryStatus.CANCELLED, self._clock.now()
            delivery.next_attempt_at = None
            session.add(delivery)
            return _standing(delivery)
        event = await session.get_one(OutboxEvent, delivery.event_id)
        now = self._clock.now()
        sealed = [endpoint.sealed_secret]
        until = endpoint.previous_secret_until
        if endpoint.previous_sealed_secret is not None and until is not None and now < until:
            sealed.append(endpoint.previous_sealed_secret)
        secrets = [opened(self._keyring, secret, endpoint_id=endpoint.id) for secret in sealed]
        return _Parcel(
            endpoint.id, endpoint.user_id, endpoint.url, message_of(event, secrets, now=now)
        )


def _standing(delivery: WebhookDelivery) -> DeliveryStanding:
    return DeliveryStanding(delivery.id, DeliveryStatus(delivery.status), delivery.attempts)
