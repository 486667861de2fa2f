from collections.abc import Sequence

import pytest

from domain.coins import Coin, KeyPosition
from domain.errors import InsufficientGasFundsError, InvariantError
from domain.scanning import Outpoint
from domain.utxo.bumps import Bump, child, resized
from domain.utxo.networks import BITCOIN
from domain.utxo.selection import (
    CONSOLIDATED_COINS_MAX,
    Algorithm,
    ScriptOutput,
    Selection,
    select,
)
from domain.utxo.selection_search import Goal, fewest, random_draw, with_smallest
from domain.utxo.sizes import MAX_STANDARD_WEIGHT, transaction_vbytes, transaction_weight

RECIPIENT = bytes([0, 20, *[0xAA] * 20])
CHANGE = bytes([0, 20, *[0xCC] * 20])
PAYMENT_VBYTES, PAYMENT_WITH_CHANGE_VBYTES = 110, 141
"""One input; the second has a change output."""


def pool(amounts: Sequence[int]) -> list[Coin]:
    return [
        Coin(Outpoint(f"{number:064x}", 0), amount, KeyPosition(0, number))
        for number, amount in enumerate(amounts)
    ]


def selected(
    amounts: Sequence[int],
    *paid: int,
    rate: int = 10_000,
    long_term: int = 10_000,
    seed: bytes = b"",
) -> Selection:
    return selected_of(pool(amounts), paid, rate=rate, long_term=long_term, seed=seed)


def selected_of(
    coins: Sequence[Coin],
    paid: Sequence[int],
    *,
    rate: int = 10_000,
    long_term: int = 10_000,
    seed: bytes = b"",
) -> Selection:
    return select(
        coins,
        [ScriptOutput(RECIPIENT, amount) for amount in paid],
        change_script=CHANGE,
        fee_rate_per_kvb=rate,
        long_term_fee_rate_per_kvb=long_term,
        network=BITCOIN,
        seed=seed,
    )


def amounts_of(selection: Selection) -> list[int]:
    return sorted(coin.amount_minor for coin in selection.coins)


class TestSelect:
    def test_makes_no_change_where_a_coin_pays_exactly(self) -> None:
        selection = selected([500_000, 101_100, 90_000], 100_000)

        assert amounts_of(selection) == [101_100]
        assert selection.fee_minor == PAYMENT_VBYTES * 10
        assert (selection.change_minor, selection.waste_minor) == (0, 0)
        assert selection.algorithm == Algorithm.BRANCH_AND_BOUND

    def test_leaves_less_than_change_would_cost_to_the_fee(self) -> None:
        """Making it costs 310 and spending it 680; 980 more than needed are cheaper given away."""
        selection = selected([500_000, 102_080], 100_000)

        assert amounts_of(selection) == [102_080]
        assert (selection.change_minor, selection.waste_minor) == (0, 980)

    def test_makes_change_of_what_is_left(self) -> None:
        selection = selected([500_000], 100_000)

        assert selection.fee_minor == PAYMENT_WITH_CHANGE_VBYTES * 10
        assert selection.change_minor == 500_000 - 100_000 - selection.fee_minor
        assert selection.waste_minor == 310 + 680

    def test_takes_few_coins_while_fees_are_high(self) -> None:
        selection = selected([300_000, *[30_000] * 10], 200_000, rate=50_000)

        assert amounts_of(selection) == [300_000]
        assert selection.algorithm == Algorithm.FEWEST

    def test_takes_small_coins_along_while_fees_are_low(self) -> None:
        selection = selected([300_000, *[20_000] * 20], 200_000, rate=2_000)

        assert amounts_of(selection) == [20_000] * CONSOLIDATED_COINS_MAX + [300_000]
        assert selection.algorithm == Algorithm.CONSOLIDATION
        assert selection.waste_minor < 0

    def test_leaves_coins_that_are_worth_less_than_their_input(self) -> None:
        """An input costs 680 at this rate, 680 is not more; even where it is lower than usual."""
        selection = selected([300_000, 680, 681], 100_000, long_term=20_000)

        assert amounts_of(selection) == [681, 300_000]

    def test_draws_as_the_seed_says(self) -> None:
        amounts = [*range(200_000, 220_000, 1_000), *range(10_000, 110_000, 500)]
        drawn = [
            selected(amounts, 3_000_000, rate=2_000, long_term=3_000, seed=seed)
            for seed in (b"one", b"one", b"two")
        ]

        assert drawn[0].algorithm == Algorithm.RANDOM_DRAW
        assert drawn[0] == drawn[1]
        assert drawn[0].coins != drawn[2].coins

    def test_says_how_much_is_missing(self) -> None:
        """A second input and outputs, 178 virtual bytes, cost 1780."""
        with pytest.raises(InsufficientGasFundsError, match="1781 satoshi are missing"):
            selected([60_000, 39_999, 500], 100_000)

    def test_fails_by_one_and_succeeds_without(self) -> None:
        assert selected([101_100], 100_000).fee_minor == 1_100
        with pytest.raises(InsufficientGasFundsError, match=r"^1 satoshi"):
            selected([101_099], 100_000)

    def test_fails_where_no_coin_is_worth_spending(self) -> None:
        with pytest.raises(InsufficientGasFundsError, match="0 of 3 coins"):
            selected([600, 600, 600], 1_000)

    def test_never_selects_more_than_fits(self) -> None:
        selection = selected([10_000] * 1_600, 13_000_000, rate=1_000, long_term=1_000)

        scripts = [RECIPIENT] + [CHANGE] * (selection.change_minor > 0)
        assert len(selection.coins) > 1_300
        assert transaction_weight(len(selection.coins), scripts) <= MAX_STANDARD_WEIGHT

    def test_fails_where_enough_coins_do_not_fit(self) -> None:
        with pytest.raises(InsufficientGasFundsError, match="1469 of 1600 coins"):
            selected([10_000] * 1_600, 15_000_000, rate=1_000)

    def test_pays_for_the_wider_number_of_inputs(self) -> None:
        """From 253 on the number takes two more bytes, which the 253rd coin must pay as well."""
        enough = 253 * 10_000 - transaction_vbytes(253, [RECIPIENT])

        exact = selected([10_000] * 253, enough, rate=1_000, long_term=1_000)

        assert len(exact.coins) == 253
        assert exact.fee_minor == transaction_vbytes(253, [RECIPIENT])
        with pytest.raises(InsufficientGasFundsError, match=r"^1 satoshi"):
            selected([10_000] * 253, enough + 1, rate=1_000, long_term=1_000)

    def test_refuses_what_no_answer_fits(self) -> None:
        coin = pool([10_000])[0]
        with pytest.raises(InvariantError, match="twice"):
            selected_of([coin, coin], [1_000])
        with pytest.raises(InvariantError, match="at least one output"):
            selected_of([coin], [])
        with pytest.raises(InvariantError, match="4000 outputs are too heavy"):
            selected_of([coin], [1_000] * 4_000)


def goal(*values: int, needed: int, change_from: int = 10, inputs_max: int = 100) -> Goal:
    return Goal(
        values=values,
        needed=needed,
        change_from=change_from,
        input_waste=1,
        wide_count_fee=0,
        inputs_max=inputs_max,
        inputs_max_with_change=inputs_max,
    )


class TestFewest:
    def test_prefers_the_smallest_coin_that_does(self) -> None:
        assert fewest(goal(90, 80, 40, 30, needed=30)) == (2,)

    def test_keeps_large_coins_where_small_ones_do(self) -> None:
        assert fewest(goal(90, 80, 30, 15, 10, needed=90)) == (0, 4)

    def test_needs_room_for_change(self) -> None:
        assert fewest(goal(50, 50, needed=91)) is None
        assert fewest(goal(50, 50, needed=90)) == (0, 1)

    def test_is_none_where_they_do_not_fit(self) -> None:
        assert fewest(goal(50, 50, needed=90, inputs_max=1)) is None


class TestRandomDraw:
    def test_gives_back_the_smallest_where_too_many_are_drawn(self) -> None:
        assert random_draw(goal(50, 40, 5, needed=80, inputs_max=2), [2, 1, 0]) == (0, 1)

    def test_is_none_where_all_do_not_reach(self) -> None:
        assert random_draw(goal(50, 40, 5, needed=90), [2, 1, 0]) is None


class TestWithSmallest:
    def test_adds_as_many_as_fit(self) -> None:
        crowded = goal(50, 40, 5, 4, needed=30, inputs_max=3)

        assert with_smallest(crowded, (1,), extra=1) == (1, 3)
        assert with_smallest(crowded, (1,), extra=9) == (1, 2, 3)
        assert with_smallest(crowded, (0, 1, 2), extra=9) == (0, 1, 2)


def replaced(fee: int, change: int, *, rate: int, scripts: Sequence[bytes]) -> Bump | None:
    return resized(
        input_count=1,
        scripts=scripts,
        change_minor=change,
        fee_minor=fee,
        rate=rate,
        network=BITCOIN,
    )


class TestReplacement:
    """Of one input and one payment at 10 satoshi a byte: a fee of 1410."""

    def test_takes_the_fee_from_the_change(self) -> None:
        assert replaced(1_410, 9_000, rate=20_000, scripts=[RECIPIENT]) == Bump(7_590, 2_820)

    def test_pays_for_its_own_relay_however_little_the_rate_rises(self) -> None:
        """A satoshi for each of 141 virtual bytes (BIP125 rule 4), whatever the rate says."""
        assert replaced(1_410, 9_000, rate=9_000, scripts=[RECIPIENT]) == Bump(8_859, 1_551)

    def test_gives_up_change_that_becomes_dust(self) -> None:
        assert replaced(1_410, 1_704, rate=20_000, scripts=[RECIPIENT]) == Bump(294, 2_820)
        assert replaced(1_410, 1_703, rate=20_000, scripts=[RECIPIENT]) == Bump(0, 3_113)

    def test_is_impossible_where_change_does_not_suffice(self) -> None:
        """Without the change output 110 virtual bytes remain, at 20 each."""
        assert replaced(1_410, 790, rate=20_000, scripts=[RECIPIENT]) == Bump(0, 2_200)
        assert replaced(1_410, 789, rate=20_000, scripts=[RECIPIENT]) is None

    def test_is_impossible_without_change(self) -> None:
        assert replaced(9_000, 0, rate=20_000, scripts=[RECIPIENT]) is None

    def test_keeps_an_only_output(self) -> None:
        assert replaced(1_100, 48_900, rate=20_000, scripts=[]) == Bump(47_800, 2_200)
        assert replaced(1_100, 48_900, rate=454_000, scripts=[]) is None


def born(*, parent_fee: int, change: int) -> Bump | None:
    """A child of 110 virtual bytes to a parent of 200, at 10 satoshi a byte."""
    return child(
        parent_vbytes=200,
        parent_fee_minor=parent_fee,
        change_minor=change,
        rate=10_000,
        network=BITCOIN,
    )


class TestChild:
    def test_pays_what_its_parent_lacks(self) -> None:
        assert born(parent_fee=200, change=9_000) == Bump(6_100, 2_900)

    def test_is_not_born_where_its_output_would_be_dust(self) -> None:
        assert born(parent_fee=200, change=2_900 + 294) == Bump(294, 2_900)
        assert born(parent_fee=200, change=2_900 + 293) is None

    def test_is_not_born_to_a_parent_that_pays_enough(self) -> None:
        assert born(parent_fee=1_999, change=9_000) == Bump(7_899, 1_101)
        assert born(parent_fee=2_000, change=9_000) is None
