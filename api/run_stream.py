"""
A run's progress as server-sent events: how many lines are in each status.

As with deposits the database is looked at in units of work that end before anything is sent. A look
is as dear as the run has lines, so the pause after it grows with the time it took.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Final

from api.deposit_stream import HEARTBEAT
from api.schemas.payout_runs import RunEventView, run_event_view
from domain.errors import DatabaseUnavailableError, PayoutRunNotFoundError
from domain.runs import RunStatus
from infra.database import Database
from infra.settings import ApiSettings
from runs.queries import RunCounts, run_counts, run_for

EVENT_ID_PATTERN: Final = r"^[0-9a-f]{16}$"
PAUSE_FACTOR: Final = 20
"""A reader keeps the database busy for at most a twentieth of the time."""

_RETRY_MS: Final = 2_000


class RunStream:
    """Follows one run for one reader."""

    def __init__(
        self, database: Database, settings: ApiSettings, *, heartbeat: timedelta = HEARTBEAT
    ) -> None:
        """Take the database, which is read every ``stream_interval`` at most."""
        self._database = database
        self._interval_s = settings.stream_interval.total_seconds()
        self._lifetime_s = settings.stream_lifetime.total_seconds()
        self._heartbeat_s = heartbeat.total_seconds()

    async def events(
        self, run_id: str, *, user_id: str | None, last: str | None
    ) -> AsyncGenerator[str]:
        """
        Yield where the run stands, then each change, until it is finished or discarded.

        A reader who names the ``last`` event is not told the same again, unless it is the end. The
        stream also ends when it has lived long enough: rights may have been withdrawn meanwhile.
        """
        yield f"retry: {_RETRY_MS}\n\n"
        ends_at = time.monotonic() + self._lifetime_s
        beats_at = time.monotonic() + self._heartbeat_s
        while True:
            looked_at = time.monotonic()
            look = asyncio.create_task(self._look(run_id, user_id=user_id))
            try:
                # The reader may hang up; a connection must not be dropped in mid-sentence.
                counts = await asyncio.shield(look)
            except PayoutRunNotFoundError:
                return
            took_s = time.monotonic() - looked_at
            if counts is not None:
                event = run_event_view(run_id, counts)
                event_id = event_id_of(counts)
                if event_id != last or event.is_final:
                    last = event_id
                    beats_at = time.monotonic() + self._heartbeat_s
                    yield _written(event_id, event)
                if event.is_final:
                    return
            if time.monotonic() >= ends_at:
                return
            if time.monotonic() >= beats_at:
                beats_at = time.monotonic() + self._heartbeat_s
                yield ": still here\n\n"
            pause_s = min(took_s * PAUSE_FACTOR, self._heartbeat_s)
            await asyncio.sleep(max(self._interval_s, pause_s))

    async def _look(self, run_id: str, *, user_id: str | None) -> RunCounts | None:
        """Return where the run stands, or None while the database is away."""
        try:
            async with self._database.snapshot() as session:
                run = await run_for(session, run_id, user_id=user_id)
                return await run_counts(session, run)
        except DatabaseUnavailableError:
            return None


def event_id_of(counts: RunCounts) -> str:
    """Return the id that this standing always has."""
    standing = json.dumps([RunStatus(counts.status), sorted(counts.lines.items())])
    return hashlib.sha256(standing.encode()).hexdigest()[:16]


def _written(event_id: str, event: RunEventView) -> str:
    return f"id: {event_id}\nevent: run\ndata: {event.model_dump_json()}\n\n"
