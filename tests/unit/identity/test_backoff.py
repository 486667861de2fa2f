from datetime import UTC, datetime, timedelta

import pytest

from identity.backoff import lock_duration, seconds_left

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class TestLockDuration:
    def test_doubles_from_thirty_seconds_after_the_fifth_failure(self) -> None:
        waits = [lock_duration(n, longest=timedelta(hours=1)).seconds for n in range(1, 9)]

        assert waits == [0, 0, 0, 0, 30, 60, 120, 240]

    @pytest.mark.parametrize("failures", [12, 1_000, 10**9])
    def test_never_passes_its_cap(self, failures: int) -> None:
        assert lock_duration(failures, longest=timedelta(hours=1)) == timedelta(hours=1)


class TestSecondsLeft:
    @pytest.mark.parametrize(
        ("left", "seconds"),
        [
            (timedelta(seconds=-1), 0),
            (timedelta(0), 0),
            (timedelta(milliseconds=1), 1),
            (timedelta(seconds=2), 2),
            (timedelta(seconds=2, microseconds=1), 3),
        ],
    )
    def test_rounds_up_so_that_waiting_is_enough(self, left: timedelta, seconds: int) -> None:
        assert seconds_left(NOW + left, now=NOW) == seconds

    def test_is_nothing_without_a_lock(self) -> None:
        assert seconds_left(None, now=NOW) == 0
