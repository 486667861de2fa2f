"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta
from typing import override


class MovableClock:
    """Implements ``domain.clock.Clock``."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, step: timedelta) -> None:
        self._now += step


class LeapingClock(MovableClock):
    """A clock that leaps once, when it has been read so often: that much time passed just then."""

    def __init__(self, start: datetime, *, readings: int, leap: timedelta) -> None:
        super().__init__(start)
        self._readings = readings
        self._leap = leap

    @override
    def now(self) -> datetime:
        if self._readings == 0:
            self.advance(self._leap)
        self._readings -= 1
        return super().now()
