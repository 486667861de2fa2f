"""Noting what became of an attempt: for the delivery, and for the endpoint."""

from datetime import datetime, timedelta
from http import HTTPStatus

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.events import Event
from domain.webhooks import (
    DISABLE_AFTER,
    DeliveryStanding,
    DeliveryStatus,
    DisabledReason,
    retry_delay_s,
)
from events.outbox import publish
from models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.sender import Answer


async def record_attempt(
    session: AsyncSession, delivery_id: str, answer: Answer, *, clock: Clock, chance: float
) -> DeliveryStanding:
    """Note an attempt and what follows from it; what ended meanwhile stays as it ended."""
    now = clock.now()
    delivery = await session.get_one(WebhookDelivery, delivery_id, with_for_update=True)
    delivery.attempts += 1
    session.add(_row(delivery, answer, now))
    retry_after_s: int | None = None
    if delivery.status == DeliveryStatus.PENDING:
        retry_after_s = _move(delivery, answer, now=now, chance=chance)
    session.add(delivery)
    await _judge(session, delivery.endpoint_id, answer, now=now)
    return DeliveryStanding(
        delivery.id, DeliveryStatus(delivery.status), delivery.attempts, retry_after_s
    )


def _row(delivery: WebhookDelivery, answer: Answer, now: datetime) -> WebhookAttempt:
    return WebhookAttempt(
        delivery_id=delivery.id,
        number=delivery.attempts,
        at=now,
        duration_ms=answer.duration_ms,
        status_code=answer.status_code,
        error=answer.error,
        answer=answer.text,
    )


def _move(delivery: WebhookDelivery, answer: Answer, *, now: datetime, chance: float) -> int | None:
    """Set the delivery's status, and return after how long to try again."""
    if answer.is_taken:
        delivery.status, delivery.ended_at = DeliveryStatus.DELIVERED, now
        delivery.next_attempt_at = None
        return None
    retry_after_s = retry_delay_s(delivery.attempts, chance=chance, asked_s=answer.retry_after_s)
    if retry_after_s is None:
        delivery.status, delivery.ended_at = DeliveryStatus.FAILED, now
        delivery.next_attempt_at = None
    else:
        delivery.next_attempt_at = now + timedelta(seconds=retry_after_s)
    return retry_after_s


async def _judge(session: AsyncSession, endpoint_id: str, answer: Answer, *, now: datetime) -> None:
    """Note how the endpoint does; one that took nothing for days gets no more."""
    endpoint = await session.get_one(WebhookEndpoint, endpoint_id)
    if answer.is_taken and endpoint.failing_since is None:
        return
    await session.refresh(endpoint, with_for_update=True)
    if answer.is_taken:
        endpoint.failing_since = None
    else:
        endpoint.failing_since = endpoint.failing_since or now
        reason = _verdict(answer, endpoint.failing_since, now=now)
        if reason is not None and endpoint.disabled_at is None and endpoint.removed_at is None:
            endpoint.disabled_at, endpoint.disabled_reason = now, reason
            endpoint.updated_at = now
            # Not the address, which may hold a token of the receiver's.
            event = Event(
                endpoint.user_id,
                "webhook_endpoint.disabled",
                endpoint.id,
                {"reason": reason.value, "description": endpoint.description},
            )
            await publish(session, event)
    session.add(endpoint)


def _verdict(answer: Answer, failing_since: datetime, *, now: datetime) -> DisabledReason | None:
    if answer.status_code == HTTPStatus.GONE:
        return DisabledReason.GONE
    return DisabledReason.FAILING if now - failing_since >= DISABLE_AFTER else None
