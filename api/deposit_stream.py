"""
A deposit's progress as server-sent events (the HTML standard, section 9.2).

The database is looked at in units of work that end before anything is sent: a slow reader holds
a socket and nothing else. An event's id names the newest line of the history and the
confirmations that its reader knows, so whoever comes back with it misses nothing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self, override

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.schemas.deposits import DepositEventView
from deposits.queries import DepositProgress, deposit_progress
from domain.clock import Clock
from domain.deposits import DepositStatus
from domain.errors import DatabaseUnavailableError, TransientError
from infra.database import Database
from infra.settings import ApiSettings
from models.deposits import ChainDepositEvent

MEDIA_TYPE: Final = "text/event-stream"
EVENT_ID_PATTERN: Final = r"^[0-9]{1,18}\.[0-9]{1,9}$"
HEARTBEAT: Final = timedelta(seconds=15)
"""Proxies close what is silent for longer, most of them after a minute."""

_RETRY_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Place:
    """What a reader knows: the newest line of the history, and the confirmations."""

    line: int
    confirmations: int

    @classmethod
    def parse(cls, event_id: str) -> Self:
        """Return the place that an event's id names; see ``EVENT_ID_PATTERN``."""
        line, _, confirmations = event_id.partition(".")
        return cls(int(line), int(confirmations))

    @override
    def __str__(self) -> str:
        return f"{self.line}.{self.confirmations}"


class StreamSlots:
    """Counts the streams that are open in this process, and each reader's among them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_reader = Counter[str]()

    @property
    def taken(self) -> int:
        """How many are open."""
        return self._by_reader.total()

    @contextmanager
    def one(self, reader: str, settings: ApiSettings) -> Iterator[None]:
        """
        Count one more inside the block.

        Raises:
            TransientError: There are as many as the settings allow, in all or of this reader.
        """
        is_full = self.taken >= settings.streams_max
        if is_full or self._by_reader[reader] >= settings.streams_per_user_max:
            msg = "Too many streams of events are open; ask for the state itself meanwhile."
            raise TransientError(msg)
        self._by_reader[reader] += 1
        try:
            yield
        finally:
            self._by_reader[reader] -= 1
            self._by_reader += Counter()


class EventStream(StreamingResponse):
    """Events to one reader, within the bounds on streams; ends when the reader goes."""

    media_type = MEDIA_TYPE

    def __init__(
        self, events: AsyncIterator[str], *, reader: str, slots: StreamSlots, settings: ApiSettings
    ) -> None:
        """Take the events, the reader's user id, and what counts the streams."""
        # Without this header nginx collects a stream before it passes it on.
        super().__init__(events, headers={"X-Accel-Buffering": "no"})
        self._slot = slots.one(reader, settings)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Here, not in the endpoint: a stream that never begins would keep its slot for ever.
        with self._slot:
            await super().__call__(scope, receive, send)


class DepositStream:
    """Follows one deposit for one reader."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: ApiSettings,
        *,
        heartbeat: timedelta = HEARTBEAT,
    ) -> None:
        """Take the database, which is read every ``stream_interval``."""
        self._database = database
        self._clock = clock
        self._interval_s = settings.stream_interval.total_seconds()
        self._lifetime_s = settings.stream_lifetime.total_seconds()
        self._heartbeat_s = heartbeat.total_seconds()

    async def events(
        self, deposit_id: str, *, user_id: str | None, last: Place | None
    ) -> AsyncGenerator[str]:
        """
        Yield the deposit's present state, then each change, until it is final.

        A reader who names the ``last`` event gets what came after it instead. The stream also ends
        when it has lived long enough: rights may have been withdrawn since it began.
        """
        yield f"retry: {_RETRY_MS}\n\n"
        ends_at = time.monotonic() + self._lifetime_s
        beats_at = time.monotonic() + self._heartbeat_s
        while True:
            look = asyncio.create_task(self._look(deposit_id, user_id=user_id, after=last))
            # The reader may hang up meanwhile; a connection must not be dropped in mid-sentence.
            progress = await asyncio.shield(look)
            if progress is not None:
                for place, event in _changes(progress, last, now=self._clock.now()):
                    last = place
                    beats_at = time.monotonic() + self._heartbeat_s
                    yield f"id: {place}\nevent: deposit\ndata: {event.model_dump_json()}\n\n"
                if progress.is_final:
                    return
            if time.monotonic() >= ends_at:
                return
            if time.monotonic() >= beats_at:
                beats_at = time.monotonic() + self._heartbeat_s
                yield ": still here\n\n"
            await asyncio.sleep(self._interval_s)

    async def _look(
        self, deposit_id: str, *, user_id: str | None, after: Place | None
    ) -> DepositProgress | None:
        """Return what is new, or None while the database is away: the reader waits with us."""
        try:
            async with self._database.snapshot() as session:
                return await deposit_progress(
                    session, deposit_id, user_id=user_id, after=after.line if after else None
                )
        except DatabaseUnavailableError:
            return None


def _changes(
    progress: DepositProgress, last: Place | None, *, now: datetime
) -> Iterator[tuple[Place, DepositEventView]]:
    newest = progress.news[-1] if progress.news else None
    for line in progress.news[:-1]:
        yield Place(line.id or 0, 0), _past(progress, line)
    known = last.line if last else 0
    present = Place(known if newest is None else newest.id or 0, progress.depth.confirmations)
    # A reader who comes back after the end is told so again, or it would come back for ever.
    if present != last or progress.is_final:
        yield present, _present(progress, newest, now=now)


def _past(progress: DepositProgress, line: ChainDepositEvent) -> DepositEventView:
    deposit = progress.deposit
    # The history of what is ignored says what became of it on the chain.
    is_ignored = deposit.status == DepositStatus.IGNORED
    return DepositEventView(
        deposit_id=deposit.id,
        status=DepositStatus(deposit.status if is_ignored else line.status),
        reason_code=deposit.reason_code,
        detail=line.detail,
        confirmations=None,
        confirmations_required=deposit.confirmations_required,
        is_final=False,
        at=line.at,
    )


def _present(
    progress: DepositProgress, newest: ChainDepositEvent | None, *, now: datetime
) -> DepositEventView:
    deposit = progress.deposit
    return DepositEventView(
        deposit_id=deposit.id,
        status=DepositStatus(deposit.status),
        reason_code=deposit.reason_code,
        detail=newest.detail if newest else None,
        confirmations=progress.depth.confirmations,
        confirmations_required=deposit.confirmations_required,
        is_final=progress.is_final,
        at=newest.at if newest else now,
    )
