"""Webhooks over the books of a test: endpoints as the API's role, deliveries as the worker's."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlmodel import col, select

from domain.events import Event
from domain.webhooks import DeliveryStanding
from events.outbox import publish
from infra.database import Database
from models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from tests.support.books import Books, as_role
from tests.support.identity import KEYRING
from tests.support.receiver import Receiver, receiving
from webhooks.deliveries import WebhookDeliveries
from webhooks.desk import PostgresWebhookDesk
from webhooks.endpoints import WebhookEndpoints
from webhooks.sender import WebhookSender


@dataclass
class Office:
    """One receiver, and everything that sends to it."""

    books: Books
    api: Database
    receiver: Receiver

    def __post_init__(self) -> None:
        clock = self.books.clock
        self.endpoints = WebhookEndpoints(
            self.api, clock, KEYRING, allows_loopback=True, endpoints_max=3
        )
        self.deliveries = WebhookDeliveries(self.api, clock)
        self.desk = self.new_desk()

    def new_desk(self) -> PostgresWebhookDesk:
        """Return a desk as another process would have it."""
        sender = WebhookSender(allows_loopback=True, timeout=timedelta(seconds=5))
        return PostgresWebhookDesk(
            self.books.worker, self.books.clock, KEYRING, sender=sender, chance=lambda: 0.5
        )

    async def add(self, *kinds: str, user_id: str = "u1") -> tuple[WebhookEndpoint, str]:
        """Add an endpoint at the receiver, and return it with its secret."""
        issued = await self.endpoints.add(
            user_id, url=self.receiver.url, kinds=kinds or ("*",), description=None
        )
        return issued.endpoint, issued.secret

    async def tell(self, *names: str, user_id: str = "u1", kind: str = "payout.settled") -> None:
        async with self.books.worker.transaction() as session:
            await publish(session, *(Event(user_id, kind, name) for name in names))

    async def dispatched(self) -> list[str]:
        """Dispatch all that was told, and return every delivery that nobody started yet."""
        while await self.desk.dispatch():
            pass
        return list(await self.desk.unstarted(limit=1_000))

    async def one(self) -> str:
        """Tell one thing to one new endpoint, and return its delivery."""
        await self.add()
        await self.tell("r")
        (delivery_id,) = await self.dispatched()
        return delivery_id

    async def attempt(self, delivery_id: str) -> DeliveryStanding:
        return await self.desk.attempt(delivery_id)

    async def delivery(self, delivery_id: str) -> WebhookDelivery:
        async with self.books.owner.transaction() as session:
            return await session.get_one(WebhookDelivery, delivery_id)

    async def endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        async with self.books.owner.transaction() as session:
            return await session.get_one(WebhookEndpoint, endpoint_id)

    async def attempts(self, delivery_id: str) -> Sequence[WebhookAttempt]:
        async with self.books.owner.transaction() as session:
            found = await session.exec(
                select(WebhookAttempt)
                .where(WebhookAttempt.delivery_id == delivery_id)
                .order_by(col(WebhookAttempt.number))
            )
            return found.all()


@asynccontextmanager
async def open_office(books: Books, database_url: str) -> AsyncIterator[Office]:
    api = Database(as_role(database_url, "api"), pool_size=5)
    # Signatures hold the time, and the library compares it with the present.
    books.clock.advance(datetime.now(UTC) - books.clock.now())
    async with receiving(Receiver()) as receiver:
        yield Office(books, api, receiver)
    await api.close()
