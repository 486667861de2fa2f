"""
From the outbox to deliveries: each event once to each endpoint that wants it.

The cursor moves in the unit of work that makes the deliveries, so whoever dies at any instant has
done both or neither. One dispatcher works at a time; another finds the cursor locked and goes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.ids import WEBHOOK_DELIVERY, new_id
from domain.webhooks import PING, DeliveryStatus, wants
from events.outbox import Place, events_after, place_of, settled
from models.events import OutboxEvent
from models.webhooks import WebhookCursor, WebhookDelivery, WebhookEndpoint

EVENTS_AT_ONCE = 500


async def dispatch(session: AsyncSession, clock: Clock) -> int:
    """Make deliveries of the next events, move the cursor, and return how many events it saw."""
    found = await session.exec(
        select(WebhookCursor).where(WebhookCursor.id == 1).with_for_update(skip_locked=True)
    )
    cursor = found.first()
    if cursor is None:
        return 0
    end = await settled(session)
    # What nobody wants is gone past without being read.
    listening = select(WebhookEndpoint.user_id).where(*_ENABLED)
    events = await events_after(
        session,
        Place(cursor.xid, cursor.seq),
        limit=EVENTS_AT_ONCE,
        user_ids=listening,
        until=end,
    )
    if rows := await _deliveries(session, events, clock):
        await session.execute(insert(WebhookDelivery).values(rows).on_conflict_do_nothing())
    place = place_of(events[-1]) if len(events) == EVENTS_AT_ONCE else end
    cursor.xid, cursor.seq = place.xid, place.seq
    session.add(cursor)
    return len(events)


_ENABLED = (
    col(WebhookEndpoint.disabled_at).is_(None),
    col(WebhookEndpoint.removed_at).is_(None),
)


async def _deliveries(
    session: AsyncSession, events: Sequence[OutboxEvent], clock: Clock
) -> list[Mapping[str, Any]]:
    by_user: defaultdict[str, list[WebhookEndpoint]] = defaultdict(list)
    user_ids = {event.user_id for event in events}
    found = await session.exec(
        select(WebhookEndpoint).where(col(WebhookEndpoint.user_id).in_(user_ids), *_ENABLED)
    )
    for endpoint in found:
        by_user[endpoint.user_id].append(endpoint)
    return [
        {
            "id": new_id(WEBHOOK_DELIVERY),
            "endpoint_id": endpoint.id,
            "event_id": event.id,
            "kind": event.kind,
            "is_manual": False,
            "status": DeliveryStatus.PENDING.value,
            "attempts": 0,
            "created_at": clock.now(),
        }
        for event in events
        # Whoever asks for a ping makes its delivery too.
        if event.kind != PING
        for endpoint in by_user[event.user_id]
        if wants(endpoint.kinds, event.kind)
    ]
