"""The only place that reads the wall clock. Workflows use ``workflow.now()`` instead."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the present time, in UTC."""

    def now(self) -> datetime:
        """Return the present, timezone-aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present, timezone-aware, in UTC."""
        return datetime.now(UTC)


class StoppedClock:
    """Says the same however often it is asked: the one moment of a unit of work."""

    def __init__(self, moment: datetime) -> None:
        """Take the moment."""
        self._moment = moment

    def now(self) -> datetime:
        """Return the moment."""
        return self._moment


def utc_now() -> datetime:
    """Return the present for column defaults; everything else takes a ``Clock``."""
    return datetime.now(UTC)
