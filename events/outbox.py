"""
The outbox: events are written with the change that they tell of, and read in an order that holds.

Numbers of a sequence are committed out of order, so whoever reads "after the last one" misses what
was numbered early and committed late. Each event therefore keeps the id of the transaction that
wrote it, and readers take only what is below every transaction that still runs, in the order of
that id: nothing can be added behind them any more. One transaction that runs for long holds back
everybody's events for as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, literal, tuple_
from sqlalchemy import select as sa_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.events import Event, Json
from domain.ids import EVENT, new_id
from models.events import OutboxEvent, TransactionId

__all__ = [
    "START",
    "Event",
    "Json",
    "Place",
    "enqueue",
    "events_after",
    "newest",
    "place_of",
    "publish",
]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an event stands in the order of reading."""

    xid: int
    seq: int


START = Place(0, 0)
"""Before every event."""


async def publish(session: AsyncSession, *events: Event) -> None:
    """
    Write events in the caller's unit of work: they are told if it is committed, and never else.

    A step that may be repeated publishes where it changes a status, and not where it finds it so.
    """
    enqueue(session, *events)
    await session.flush()


def enqueue(session: AsyncSession, *events: Event) -> None:
    """Do as ``publish`` does, with the session's next flush."""
    session.add_all(
        OutboxEvent(
            id=new_id(EVENT),
            user_id=event.user_id,
            kind=event.kind,
            resource_id=event.resource_id,
            data=dict(event.data),
        )
        for event in events
    )


async def events_after(
    session: AsyncSession, place: Place, *, limit: int, user_id: str | None = None
) -> Sequence[OutboxEvent]:
    """Return what comes next in order, of one user or of all, as far as the order is settled."""
    query = (
        select(OutboxEvent)
        .where(
            tuple_(col(OutboxEvent.xid), col(OutboxEvent.seq))
            > tuple_(literal(place.xid, TransactionId), literal(place.seq)),
            col(OutboxEvent.xid) < _settled(),
        )
        .order_by(col(OutboxEvent.xid), col(OutboxEvent.seq))
        .limit(limit)
    )
    if user_id is not None:
        query = query.where(OutboxEvent.user_id == user_id)
    return (await session.exec(query)).all()


async def newest(session: AsyncSession) -> Place:
    """Return a place that every event written from now on comes after."""
    found = await session.execute(
        sa_select(col(OutboxEvent.xid), col(OutboxEvent.seq))
        .where(col(OutboxEvent.xid) < _settled())
        .order_by(col(OutboxEvent.xid).desc(), col(OutboxEvent.seq).desc())
        .limit(1)
    )
    row = found.first()
    return START if row is None else Place(*row)


def place_of(event: OutboxEvent) -> Place:
    """Return where an event that was read stands."""
    return Place(int(event.xid or 0), int(event.seq or 0))


def _settled() -> ColumnElement[int]:
    """Return the lowest transaction that still runs, in SQL."""
    return func.pg_snapshot_xmin(func.pg_current_snapshot(), type_=TransactionId)
