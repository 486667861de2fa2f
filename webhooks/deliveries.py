"""The log of deliveries as users see it, pings, and sending once more by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    WebhookDeliveriesWaitingError,
    WebhookDeliveryNotFoundError,
    WebhookEndpointDisabledError,
)
from domain.events import Event
from domain.ids import WEBHOOK_DELIVERY, new_id
from domain.webhooks import PING, DeliveryStatus
from events.outbox import publish
from infra.database import Database
from infra.paging import Page, paged
from models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.endpoints import endpoint_of

MANUAL_MAX = 20
"""Pings and redeliveries to one endpoint that may wait at once."""


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """A delivery and every attempt at it, oldest first."""

    delivery: WebhookDelivery
    attempts: Sequence[WebhookAttempt]


class WebhookDeliveries:
    """Shows deliveries to their user, and makes more of them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take the database as the API's role."""
        self._database = database
        self._clock = clock

    async def of_endpoint(
        self, user_id: str, endpoint_id: str, page: Page, *, status: DeliveryStatus | None
    ) -> Sequence[WebhookDelivery]:
        """Return a page of an endpoint's deliveries, newest first, and the one after it."""
        async with self._database.transaction() as session:
            await endpoint_of(session, user_id, endpoint_id)
            query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
            if status is not None:
                query = query.where(WebhookDelivery.status == status)
            query = paged(
                query, page, created_at=WebhookDelivery.created_at, row_id=WebhookDelivery.id
            )
            return (await session.exec(query)).all()

    async def detail(self, user_id: str, endpoint_id: str, delivery_id: str) -> DeliveryDetail:
        """
        Return one delivery with its attempts.

        Raises:
            WebhookEndpointNotFoundError, WebhookDeliveryNotFoundError: Not the user's.
        """
        async with self._database.transaction() as session:
            await endpoint_of(session, user_id, endpoint_id)
            delivery = await _delivery_of(session, endpoint_id, delivery_id)
            found = await session.exec(
                select(WebhookAttempt)
                .where(WebhookAttempt.delivery_id == delivery_id)
                .order_by(col(WebhookAttempt.number))
            )
            return DeliveryDetail(delivery, found.all())

    async def ping(self, user_id: str, endpoint_id: str) -> WebhookDelivery:
        """
        Send an event that says nothing, to this endpoint alone.

        Raises:
            WebhookEndpointNotFoundError, WebhookEndpointDisabledError: There is nobody to send to.
            WebhookDeliveriesWaitingError: Enough were asked for already.
        """
        async with self._database.transaction() as session:
            endpoint = await _ready(session, user_id, endpoint_id)
            (event,) = await publish(session, Event(user_id, PING, endpoint.id))
            delivery = self._manual(endpoint, event_id=event.id, kind=PING)
            session.add(delivery)
            return delivery

    async def redeliver(self, user_id: str, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        """
        Send a delivery's event once more, whatever became of it.

        Raises:
            WebhookDeliveryNotFoundError: The endpoint has none of that id.
            WebhookEndpointNotFoundError, WebhookEndpointDisabledError: There is nobody to send to.
            WebhookDeliveriesWaitingError: Enough were asked for already.
        """
        async with self._database.transaction() as session:
            endpoint = await _ready(session, user_id, endpoint_id)
            first = await _delivery_of(session, endpoint_id, delivery_id)
            delivery = self._manual(endpoint, event_id=first.event_id, kind=first.kind)
            delivery.redelivery_of = first.id
            session.add(delivery)
            return delivery

    def _manual(self, endpoint: WebhookEndpoint, *, event_id: str, kind: str) -> WebhookDelivery:
        return WebhookDelivery(
            id=new_id(WEBHOOK_DELIVERY),
            endpoint_id=endpoint.id,
            event_id=event_id,
            kind=kind,
            is_manual=True,
            status=DeliveryStatus.PENDING,
            created_at=self._clock.now(),
        )


async def _ready(session: AsyncSession, user_id: str, endpoint_id: str) -> WebhookEndpoint:
    # Locked, or many at once would each find room for one more.
    endpoint = await endpoint_of(session, user_id, endpoint_id, is_locked=True)
    if endpoint.disabled_at is not None:
        raise WebhookEndpointDisabledError
    waiting = await session.exec(
        select(func.count())
        .select_from(WebhookDelivery)
        .where(
            WebhookDelivery.endpoint_id == endpoint_id,
            col(WebhookDelivery.is_manual),
            WebhookDelivery.status == DeliveryStatus.PENDING,
        )
    )
    if waiting.one() >= MANUAL_MAX:
        raise WebhookDeliveriesWaitingError
    return endpoint


async def _delivery_of(
    session: AsyncSession, endpoint_id: str, delivery_id: str
) -> WebhookDelivery:
    found = await session.exec(
        select(WebhookDelivery).where(
            WebhookDelivery.id == delivery_id, WebhookDelivery.endpoint_id == endpoint_id
        )
    )
    delivery = found.first()
    if delivery is None:
        raise WebhookDeliveryNotFoundError
    return delivery
