import itertools
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.fee_shares import shares
from domain.money import UINT256_MAX

totals = st.integers(0, UINT256_MAX) | st.integers(0, 1_000)
weights = st.lists(st.integers(1, 500), min_size=1, max_size=200)


class TestShares:
    @given(totals, weights)
    def test_sum_to_the_total_and_are_within_one_of_exact(
        self, total_minor: int, weighed: list[int]
    ) -> None:
        parts = shares(total_minor, weighed)
        assert sum(parts) == total_minor
        together = sum(weighed)
        for part, weight in zip(parts, weighed, strict=True):
            assert abs(part - Fraction(total_minor * weight, together)) < 1

    @given(totals, st.integers(1, 500), st.integers(1, 200))
    def test_differ_by_one_at_most_where_weights_are_equal(
        self, total_minor: int, weight: int, count: int
    ) -> None:
        parts = shares(total_minor, [weight] * count)
        assert parts == sorted(parts, reverse=True)
        assert parts[0] - parts[-1] <= 1

    @given(totals, weights, st.randoms(use_true_random=False))
    def test_are_the_same_whatever_the_order(
        self, total_minor: int, weighed: list[int], random: Random
    ) -> None:
        shuffled = list(weighed)
        random.shuffle(shuffled)
        before = sorted(zip(weighed, shares(total_minor, weighed), strict=True))
        after = sorted(zip(shuffled, shares(total_minor, shuffled), strict=True))
        assert before == after

    @given(totals, weights)
    def test_never_give_the_heavier_less(self, total_minor: int, weighed: list[int]) -> None:
        paired = sorted(zip(weighed, shares(total_minor, weighed), strict=True))
        for (weight, part), (other, more) in itertools.pairwise(paired):
            assert weight == other or part <= more

    @pytest.mark.parametrize(
        ("total_minor", "weighed"), [(1, []), (-1, [1]), (1, [1, 0]), (1, [-1])]
    )
    def test_need_somebody_to_share(self, total_minor: int, weighed: list[int]) -> None:
        with pytest.raises(ValueError, match="shared"):
            shares(total_minor, weighed)
