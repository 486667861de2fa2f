from datetime import timedelta
from itertools import pairwise

import pytest

from domain.webhooks import ATTEMPTS_MAX, JITTER, LONGEST_RETRY, retry_delay_s, wants


def delays(chance: float = 0.5) -> list[int]:
    found = [retry_delay_s(n, chance=chance) for n in range(1, ATTEMPTS_MAX + 1)]
    assert found.pop() is None
    return [delay for delay in found if delay is not None]


class TestRetryDelay:
    def test_grows_to_its_bound_and_covers_about_a_day(self) -> None:
        assert delays()[:4] == [10, 30, 90, 270]
        assert all(before <= after for before, after in pairwise(delays()))
        assert delays()[-1] == LONGEST_RETRY.total_seconds()
        day_s = timedelta(days=1).total_seconds()
        assert day_s <= sum(delays()) <= 1.25 * day_s

    def test_differs_by_chance_within_its_bounds(self) -> None:
        for shortest, middle, longest in zip(delays(0), delays(), delays(0.999), strict=True):
            assert middle * (1 - JITTER) - 1 <= shortest < middle < longest
            assert longest <= middle * (1 + JITTER)

    def test_is_as_long_as_the_receiver_asks_within_the_bound(self) -> None:
        assert retry_delay_s(1, chance=0.5, asked_s=120) == 120
        assert retry_delay_s(5, chance=0.5, asked_s=1) == 810
        assert retry_delay_s(1, chance=0.5, asked_s=10**6) == LONGEST_RETRY.total_seconds()
        assert retry_delay_s(ATTEMPTS_MAX, chance=0.5, asked_s=120) is None


class TestFilter:
    @pytest.mark.parametrize(
        ("kinds", "is_wanted"),
        [
            (["*"], True),
            (["payout.settled"], True),
            (["payout.*"], True),
            (["deposit.credited", "payout.settled"], True),
            (["payout.refused"], False),
            (["deposit.*"], False),
            (["payout_run.*"], False),
            (["payout"], False),
            ([], False),
        ],
    )
    def test_lets_through_what_it_names(self, kinds: list[str], is_wanted: bool) -> None:  # noqa: FBT001
        assert wants(kinds, "payout.settled") is is_wanted
