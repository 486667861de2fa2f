"""Gauges of the wallet's units: what is to be told and was not, and who waits for whom."""

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import func
from sqlalchemy import select as sa_select
from sqlalchemy.orm import Mapped
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.kyc import OPEN_STATUSES as OPEN_APPLICATIONS
from domain.purchases import OPEN as OPEN_PURCHASES
from domain.webhooks import DeliveryStatus
from events.outbox import oldest_undispatched
from models.kyc import KycApplication
from models.purchases import GatewayEvent, Purchase
from models.webhooks import WebhookDelivery


async def unit_metrics(session: AsyncSession, clock: Clock, registry: CollectorRegistry) -> None:
    """Add what the units' tables say now; each is read by an index of its own."""
    await _events(session, clock, registry)
    await _gateway_events(session, clock, registry)
    applications = Gauge(
        "strongroom_kyc_applications_waiting",
        "KYC applications that are not decided",
        ("status",),
        registry=registry,
    )
    await _count(session, applications, col(KycApplication.status), OPEN_APPLICATIONS)
    purchases = Gauge(
        "strongroom_purchases_awaiting_funds",
        "Purchases that are open: not paid, or not to the end",
        ("status",),
        registry=registry,
    )
    await _count(session, purchases, col(Purchase.status), OPEN_PURCHASES)


async def _events(session: AsyncSession, clock: Clock, registry: CollectorRegistry) -> None:
    lag = Gauge(
        "strongroom_outbox_lag_seconds",
        "Age of the oldest event that no delivery was made of yet",
        registry=registry,
    )
    lag.set(_age_s(clock, await oldest_undispatched(session)))
    waiting = Gauge(
        "strongroom_webhooks_waiting", "Deliveries that were not taken yet", registry=registry
    )
    oldest = Gauge(
        "strongroom_oldest_waiting_webhook_seconds",
        "Age of the oldest delivery that was not taken yet",
        registry=registry,
    )
    found = await session.exec(
        select(func.count(), func.min(col(WebhookDelivery.created_at))).where(
            WebhookDelivery.status == DeliveryStatus.PENDING
        )
    )
    count, since = found.one()
    waiting.set(count)
    oldest.set(_age_s(clock, since))


async def _gateway_events(session: AsyncSession, clock: Clock, registry: CollectorRegistry) -> None:
    oldest = Gauge(
        "strongroom_oldest_gateway_event_seconds",
        "Age of the oldest event of the gateway that was taken to no purchase yet",
        registry=registry,
    )
    found = await session.exec(
        select(func.min(col(GatewayEvent.received_at))).where(
            col(GatewayEvent.handled_at).is_(None)
        )
    )
    oldest.set(_age_s(clock, found.one()))


async def _count(
    session: AsyncSession,
    gauge: Gauge,
    column: Mapped[str],
    statuses: Iterable[str],
) -> None:
    """Count rows by status; one that nothing stands at is 0, not missing."""
    for status in statuses:
        gauge.labels(str(status)).set(0)
    found = await session.execute(
        sa_select(column, func.count())
        .where(column.in_([str(status) for status in statuses]))
        .group_by(column)
    )
    for status, count in found:
        gauge.labels(status).set(count)


def _age_s(clock: Clock, since: datetime | None) -> float:
    return 0 if since is None else (clock.now() - since).total_seconds()
