"""
The outbox: events are written with the change that they tell of, and read in an order that holds.

Numbers of a sequence are committed out of order, so whoever reads "after the last one" misses what
was numbered early and committed late. Each event therefore keeps the id of the transaction that
wrote it, and readers take only what is below every transaction that still runs, in the order of
that id: nothing can be added behind them any more. One transaction that runs for long holds back
everybody's events for as long.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, literal, tuple_
from sqlalchemy import select as sa_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from domain.events import Event, Json
from domain.ids import EVENT, new_id
from models.events import OutboxEvent, TransactionId
from models.webhooks import WebhookCursor

__all__ = [
    "START",
    "Event",
    "Json",
    "Place",
    "enqueue",
    "events_after",
    "oldest_undispatched",
    "place_by_id",
    "place_of",
    "publish",
    "settled",
]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an event stands in the order of reading."""

    xid: int
    seq: int


START = Place(0, 0)
"""Before every event."""


async def publish(session: AsyncSession, *events: Event) -> Sequence[OutboxEvent]:
    """
    Write events in the caller's unit of work: they are told if it is committed, and never else.

    A step that may be repeated publishes where it changes a status, and not where it finds it so.
    """
    rows = enqueue(session, *events)
    await session.flush()
    return rows


def enqueue(session: AsyncSession, *events: Event) -> Sequence[OutboxEvent]:
    """Do as ``publish`` does, with the session's next flush."""
    rows = [
        OutboxEvent(
            id=new_id(EVENT),
            user_id=event.user_id,
            kind=event.kind,
            resource_id=event.resource_id,
            data=dict(event.data),
        )
        for event in events
    ]
    session.add_all(rows)
    return rows


async def events_after(
    session: AsyncSession,
    place: Place,
    *,
    limit: int,
    user_ids: Collection[str] | SelectOfScalar[str] | None = None,
    kind: str | None = None,
    until: Place | None = None,
) -> Sequence[OutboxEvent]:
    """
    Return what comes next in order, of these users or of all, as far as the order is settled.

    ``until`` is a place that ``settled`` returned; what comes from there on is left out.
    """
    order = tuple_(col(OutboxEvent.xid), col(OutboxEvent.seq))
    query = (
        select(OutboxEvent)
        .where(
            order > _literal(place),
            col(OutboxEvent.xid) < _horizon() if until is None else order < _literal(until),
        )
        .order_by(col(OutboxEvent.xid), col(OutboxEvent.seq))
        .limit(limit)
    )
    if user_ids is not None:
        query = query.where(col(OutboxEvent.user_id).in_(user_ids))
    if kind is not None:
        query = query.where(OutboxEvent.kind == kind)
    return (await session.exec(query)).all()


async def settled(session: AsyncSession) -> Place:
    """Return the place before which nothing is ever added; what is to come comes after it."""
    return Place((await session.execute(sa_select(_horizon()))).scalar_one(), 0)


async def place_by_id(session: AsyncSession, event_id: str, *, user_id: str) -> Place | None:
    """Return where an event of this user stands; None if there is none of that id."""
    found = await session.exec(
        select(OutboxEvent).where(OutboxEvent.id == event_id, OutboxEvent.user_id == user_id)
    )
    event = found.first()
    return None if event is None else place_of(event)


async def oldest_undispatched(session: AsyncSession) -> datetime | None:
    """
    Return when the next event was told that no deliveries were made of yet; None: there is none.

    Also of one that a transaction which runs for long holds back.
    """
    order = tuple_(col(OutboxEvent.xid), col(OutboxEvent.seq))
    cursor = select(WebhookCursor.xid, WebhookCursor.seq).scalar_subquery()
    found = await session.exec(
        select(OutboxEvent.at)
        .where(order > cursor)
        .order_by(col(OutboxEvent.xid), col(OutboxEvent.seq))
        .limit(1)
    )
    return found.first()


def place_of(event: OutboxEvent) -> Place:
    """Return where an event that was read stands."""
    return Place(int(event.xid or 0), int(event.seq or 0))


def _literal(place: Place) -> Any:
    return tuple_(literal(place.xid, TransactionId), literal(place.seq))


def _horizon() -> ColumnElement[int]:
    """Return the lowest transaction that still runs, in SQL."""
    return func.pg_snapshot_xmin(func.pg_current_snapshot(), type_=TransactionId)
