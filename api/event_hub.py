"""
New events to every socket of this process, by one look at the database for all of them.

Nobody looks while nobody listens. A listener that reads more slowly than events come is dropped,
and goes on from the last event it knows when it comes back.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from api.schemas.events import EventView
from domain.errors import DatabaseUnavailableError, TransientError
from events.outbox import Place, events_after, place_of, settled
from infra.database import Database
from models.events import OutboxEvent

PAGE_EVENTS: Final = 500
BACKLOG_MAX: Final = 1_000
"""Events that wait for one slow socket, at most."""


@dataclass(eq=False)
class Listener:
    """What one socket has yet to send."""

    user_id: str
    began: asyncio.Future[Place] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """Every event after this place comes through the queue; what was before is in the database."""
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(BACKLOG_MAX))
    is_lost: bool = False
    """Events came that found no room; nothing more comes."""


class EventHub:
    """Looks for new events while somebody listens."""

    def __init__(self, database: Database, interval: timedelta) -> None:
        """Take the database, and how often it is looked at."""
        self._database = database
        self._interval_s = interval.total_seconds()
        self._listeners: set[Listener] = set()
        self._place: Place | None = None
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def listening(self, user_id: str) -> Iterator[Listener]:
        """Listen to one user's events inside the block."""
        listener = Listener(user_id)
        self._listeners.add(listener)
        if self._looking is None or self._looking.done():
            self._place = None
            self._looking = asyncio.create_task(self._look_on())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _look_on(self) -> None:
        try:
            while self._listeners:
                with suppress(DatabaseUnavailableError):
                    await self._look()
                await asyncio.sleep(self._interval_s)
        finally:
            # Nobody is to wait for ever because a look failed: they come back, and go on.
            for listener in self._listeners:
                listener.is_lost = True
                if not listener.began.done():
                    listener.began.set_exception(TransientError())

    async def _look(self) -> None:
        async with self._database.transaction() as session:
            end = await settled(session)
            place = self._place = self._place or end
            # Who comes while we look begins with the next look.
            listeners = set(self._listeners)
            for listener in listeners:
                if not listener.began.done():
                    listener.began.set_result(place)
            user_ids = {listener.user_id for listener in listeners}
            while news := await events_after(
                session, self._place, limit=PAGE_EVENTS, user_ids=user_ids, until=end
            ):
                for event in news:
                    _tell(listeners, event)
                self._place = place_of(news[-1])
            self._place = end


def _tell(listeners: set[Listener], event: OutboxEvent) -> None:
    text: str | None = None
    for listener in listeners:
        if listener.user_id != event.user_id or listener.is_lost:
            continue
        text = text or EventView.of(event).model_dump_json()
        try:
            listener.queue.put_nowait(text)
        except asyncio.QueueFull:
            listener.is_lost = True
