"""Gauges of the units, as the API's role reads them."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from api.unit_metrics import unit_metrics
from domain.clock import Clock
from infra.database import Database
from tests.support.books import opened_books
from tests.support.kyc import PostgresKycWorld
from tests.support.purchases import Shop, opened_shop
from tests.support.webhook_office import Office, open_office


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with opened_shop(database_url) as opened:
        yield opened


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened_books(database_url) as books, open_office(books, database_url) as opened:
        yield opened


async def gauge(api: Database, clock: Clock, name: str, **labels: str) -> float | None:
    """Return one gauge, as the API's role reads it."""
    registry = CollectorRegistry()
    async with api.transaction() as session:
        await unit_metrics(session, clock, registry)
    return registry.get_sample_value(f"strongroom_{name}", labels)


class TestOutboxLag:
    async def test_is_the_age_of_what_was_not_dispatched(self, office: Office) -> None:
        clock = office.books.clock
        await office.add()
        await office.dispatched()
        assert await gauge(office.api, clock, "outbox_lag_seconds") == 0
        await office.tell("one")
        clock.advance(timedelta(seconds=90))
        lag_s = await gauge(office.api, clock, "outbox_lag_seconds")
        # Events carry the time of day, which is a little later than the test's clock.
        assert lag_s == pytest.approx(90, abs=30)

        await office.dispatched()
        assert await gauge(office.api, clock, "outbox_lag_seconds") == 0


class TestWebhooks:
    async def test_count_until_they_are_taken(self, office: Office) -> None:
        clock = office.books.clock
        await office.add()
        await office.tell("one", "two")
        deliveries = await office.dispatched()
        clock.advance(timedelta(seconds=30))
        assert await gauge(office.api, clock, "webhooks_waiting") == 2
        assert await gauge(office.api, clock, "oldest_waiting_webhook_seconds") == 30

        for delivery_id in deliveries:
            await office.desk.attempt(delivery_id)
        assert await gauge(office.api, clock, "webhooks_waiting") == 0
        assert await gauge(office.api, clock, "oldest_waiting_webhook_seconds") == 0


class TestPurchases:
    async def test_count_until_they_are_paid(self, shop: Shop) -> None:
        name, status = "purchases_awaiting_funds", "awaiting_payment"
        purchase = await shop.bought()
        await shop.bought()
        assert await gauge(shop.api, shop.clock, name, status=status) == 2
        assert await gauge(shop.api, shop.clock, name, status="confirming") == 0

        await shop.paid(purchase, purchase.pay_minor)
        assert await gauge(shop.api, shop.clock, name, status=status) == 1
        assert await gauge(shop.api, shop.clock, name, status="completed") is None


class TestKyc:
    async def test_counts_applications_until_they_are_decided(
        self, shop: Shop, database_url: str
    ) -> None:
        name = "kyc_applications_waiting"
        assert await gauge(shop.api, shop.clock, name, status="submitted") == 0
        world = await PostgresKycWorld.opened(shop.books, database_url)
        try:
            await world.apply()
            assert await gauge(shop.api, shop.clock, name, status="submitted") == 1
        finally:
            await world.api.close()
