"""How long somebody who keeps guessing must wait."""

from datetime import datetime, timedelta

FAILURES_ALLOWED = 5
"""Wrong answers in a row before the first wait."""

_FIRST_WAIT = timedelta(seconds=30)


def lock_duration(failures: int, *, longest: timedelta) -> timedelta:
    """Return the wait after this many failures in a row: none, then 30 s, doubling each time."""
    if failures < FAILURES_ALLOWED:
        return timedelta(0)
    # The exponent is cut so that years of guessing do not overflow; the cap rules long before.
    doublings = min(failures - FAILURES_ALLOWED, 20)
    return min(_FIRST_WAIT * (1 << doublings), longest)


def seconds_left(locked_until: datetime | None, *, now: datetime) -> int:
    """Return how long a lock still holds, in whole seconds, rounded up; 0 when it is open."""
    if locked_until is None or locked_until <= now:
        return 0
    return -((now - locked_until) // timedelta(seconds=1))
