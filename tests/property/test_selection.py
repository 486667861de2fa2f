from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from hypothesis import assume, example, given
from hypothesis import strategies as st

from domain.coins import Coin, KeyPosition
from domain.errors import InsufficientGasFundsError
from domain.scanning import Outpoint
from domain.utxo.bumps import Bump, child, resized
from domain.utxo.networks import BITCOIN
from domain.utxo.selection import ScriptOutput, Selection, select
from domain.utxo.selection_search import Goal, branch_and_bound
from domain.utxo.sizes import (
    INPUT_VBYTES,
    MAX_STANDARD_WEIGHT,
    dust_minor,
    fee_minor,
    transaction_vbytes,
    transaction_weight,
)

CHANGE = bytes([0, 20, *[0xCC] * 20])
SCRIPTS = (
    bytes([0, 20, *[1] * 20]),
    bytes([0x51, 32, *[2] * 32]),
    bytes([0xA9, 20, *[3] * 20, 0x87]),
)
CHANGE_VBYTES = 31


@dataclass(frozen=True)
class Case:
    """A payment to be made from a pool."""

    amounts: tuple[int, ...]
    outputs: tuple[ScriptOutput, ...]
    rate: int
    long_term: int
    weight_max: int = MAX_STANDARD_WEIGHT

    @property
    def paid(self) -> int:
        return sum(output.amount_minor for output in self.outputs)

    @property
    def change_min(self) -> int:
        return max(dust_minor(CHANGE, BITCOIN), INPUT_VBYTES * self.long_term // 1_000 + 1)

    def scripts(self, *, has_change: bool) -> list[bytes]:
        return [output.script for output in self.outputs] + [CHANGE] * has_change

    def select(self, *, seed: bytes = b"seed", is_reversed: bool = False) -> Selection | None:
        coins = pool(self.amounts)
        try:
            return select(
                coins[::-1] if is_reversed else coins,
                self.outputs,
                change_script=CHANGE,
                fee_rate_per_kvb=self.rate,
                long_term_fee_rate_per_kvb=self.long_term,
                network=BITCOIN,
                weight_max=self.weight_max,
                seed=seed,
            )
        except InsufficientGasFundsError:
            return None


def pool(amounts: Sequence[int]) -> list[Coin]:
    return [
        Coin(Outpoint(f"{number:064x}", number), amount, KeyPosition(0, number))
        for number, amount in enumerate(amounts)
    ]


rates = st.integers(0, 60_000)
outputs = st.lists(
    st.builds(ScriptOutput, st.sampled_from(SCRIPTS), st.integers(330, 60_000)),
    min_size=1,
    max_size=4,
).map(tuple)


@st.composite
def cases(draw: st.DrawFn, *, coins_max: int = 40, is_high: bool = False) -> Case:
    """Amounts are near what inputs and change cost, where decisions are close."""
    amounts = draw(st.lists(st.integers(300, 60_000), min_size=1, max_size=coins_max))
    rate, long_term = draw(rates), draw(rates)
    if is_high:
        rate, long_term = max(rate, long_term), min(rate, long_term)
    paid = draw(outputs)
    base = transaction_weight(1, [output.script for output in paid])
    room = draw(st.just(MAX_STANDARD_WEIGHT) | st.integers(base, base + 2_500))
    return Case(tuple(amounts), paid, rate, long_term, room)


def least_waste(case: Case) -> int | None:
    """Over every subset of the coins worth spending, by the definition and nothing else."""
    usable = [amount for amount in case.amounts if amount * 1_000 > INPUT_VBYTES * case.rate]
    wastes: list[int] = []
    for count in range(1, len(usable) + 1):
        fee, weight = (
            {
                has_change: measure(count, case.scripts(has_change=has_change))
                for has_change in (True, False)
            }
            for measure in (transaction_vbytes, transaction_weight)
        )
        inputs = count * INPUT_VBYTES * (case.rate - case.long_term)
        for chosen in combinations(usable, count):
            left = sum(chosen) - case.paid
            change = left - fee_minor(fee[True], case.rate)
            has_change = change >= case.change_min
            if left < fee_minor(fee[has_change], case.rate):
                continue
            if weight[has_change] > case.weight_max:
                continue
            if has_change:
                extra = CHANGE_VBYTES * case.rate + INPUT_VBYTES * case.long_term
            else:
                extra = left * 1_000 - fee[False] * case.rate
            wastes.append(-(-(inputs + extra) // 1_000))
    return min(wastes, default=None)


class TestSelect:
    @given(cases())
    def test_conserves_value_and_pays_the_rate(self, case: Case) -> None:
        selection = case.select()
        assume(selection is not None)
        assert selection is not None

        spent = sum(coin.amount_minor for coin in selection.coins)
        has_change = selection.change_minor > 0
        vbytes = transaction_vbytes(len(selection.coins), case.scripts(has_change=has_change))
        least = fee_minor(vbytes, case.rate)
        dropped = fee_minor(CHANGE_VBYTES, case.rate) + case.change_min
        assert spent == case.paid + selection.change_minor + selection.fee_minor
        assert least <= selection.fee_minor <= least + (0 if has_change else dropped)

    @given(cases())
    def test_makes_no_change_that_is_dust_or_not_worth_spending(self, case: Case) -> None:
        selection = case.select()
        assume(selection is not None and selection.change_minor > 0)
        assert selection is not None

        assert selection.change_minor >= dust_minor(CHANGE, BITCOIN)
        assert selection.change_minor * 1_000 > INPUT_VBYTES * case.long_term

    @given(cases())
    def test_fits_and_spends_coins_that_it_was_given_once(self, case: Case) -> None:
        selection = case.select()
        assume(selection is not None)
        assert selection is not None

        scripts = case.scripts(has_change=selection.change_minor > 0)
        assert transaction_weight(len(selection.coins), scripts) <= case.weight_max
        assert len(set(selection.coins)) == len(selection.coins)
        assert set(selection.coins) <= set(pool(case.amounts))
        assert all(c.amount_minor * 1_000 > INPUT_VBYTES * case.rate for c in selection.coins)

    @given(cases(), st.binary(max_size=8))
    def test_is_the_same_whenever_it_is_asked(self, case: Case, seed: bytes) -> None:
        assert case.select(seed=seed) == case.select(seed=seed, is_reversed=True)

    @given(cases(coins_max=9, is_high=True))
    def test_wastes_the_least_that_is_possible(self, case: Case) -> None:
        """While fees are not below the long-term rate nothing but trying all could be better."""
        selection = case.select()

        assert (selection.waste_minor if selection else None) == least_waste(case)

    @given(cases(coins_max=9))
    def test_claims_no_less_waste_than_is_possible(self, case: Case) -> None:
        """At low rates it may be more: how much is consolidated at once is bounded."""
        selection = case.select()
        least = least_waste(case)

        assert (selection is None) == (least is None)
        assert selection is None or least is None or selection.waste_minor >= least

    @given(
        st.lists(st.integers(10_000, 10**6), min_size=1, max_size=12),
        st.integers(1, 2**12 - 1),
        st.integers(1, 100),
    )
    def test_needs_no_change_where_coins_match_exactly(
        self, amounts: list[int], chosen: int, rate_per_vb: int
    ) -> None:
        """For some subset the outputs are exactly what it pays at this rate."""
        subset = [amount for bit, amount in enumerate(amounts) if chosen >> bit & 1]
        assume(subset)
        fee = transaction_vbytes(len(subset), SCRIPTS[:1]) * rate_per_vb
        assume(sum(subset) - fee >= 330)
        paid = (ScriptOutput(SCRIPTS[0], sum(subset) - fee),)
        rate = rate_per_vb * 1_000

        selection = Case(tuple(amounts), paid, rate, rate).select()

        assert selection is not None
        assert selection.change_minor == 0
        assert selection.waste_minor == 0
        assert selection.fee_minor == transaction_vbytes(len(selection.coins), SCRIPTS[:1]) * (
            rate_per_vb
        )


def goal_of(
    *values: int, needed: int, change_from: int, input_waste: int, inputs_max: int = 12
) -> Goal:
    return Goal(
        values=tuple(sorted(values, reverse=True)),
        needed=needed,
        change_from=change_from,
        input_waste=input_waste,
        wide_count_fee=0,
        inputs_max=inputs_max,
        inputs_max_with_change=inputs_max,
    )


@st.composite
def goals(draw: st.DrawFn) -> Goal:
    return goal_of(
        *draw(st.lists(st.integers(1, 60), min_size=1, max_size=12)),
        needed=draw(st.integers(1, 250)),
        change_from=draw(st.integers(1, 12)),
        input_waste=draw(st.integers(-8, 8)),
        inputs_max=draw(st.integers(1, 12)),
    )


def changeless_least_waste(goal: Goal) -> int | None:
    """Over every subset that needs each of its values: without the smallest it falls short."""
    return min(
        (
            count * goal.input_waste + sum(chosen) - goal.needed
            for count in range(1, min(len(goal.values), goal.inputs_max) + 1)
            for chosen in combinations(goal.values, count)
            if 0 <= sum(chosen) - goal.needed < goal.change_from
            and sum(chosen) - min(chosen) < goal.needed
        ),
        default=None,
    )


def waste_of(goal: Goal, found: tuple[int, ...]) -> int:
    assert len(set(found)) == len(found) <= goal.inputs_max
    spare = sum(goal.values[position] for position in found) - goal.needed
    assert 0 <= spare < goal.change_from
    return len(found) * goal.input_waste + spare


class TestBranchAndBound:
    @given(goals())
    @example(goal_of(50, 40, 30, 20, needed=60, change_from=1, input_waste=1))  # leaves out 50
    @example(goal_of(50, 30, 30, 13, needed=60, change_from=9, input_waste=5))  # not 50 and 13
    def test_finds_the_optimum_without_change(self, goal: Goal) -> None:
        found = branch_and_bound(goal)

        waste = None if found is None else waste_of(goal, found)
        assert waste == changeless_least_waste(goal)

    @given(goals(), st.integers(1, 30))
    def test_that_ends_early_finds_nothing_or_a_selection(self, goal: Goal, tries_max: int) -> None:
        found = branch_and_bound(goal, tries_max=tries_max)

        least = changeless_least_waste(goal)
        assert found is None or (least is not None and waste_of(goal, found) >= least)


@dataclass(frozen=True)
class Waiting:
    """A transaction in the pool."""

    input_count: int
    scripts: tuple[bytes, ...]
    change: int
    fee: int

    def replaced(self, rate: int) -> Bump | None:
        return resized(
            input_count=self.input_count,
            scripts=self.scripts,
            change_minor=self.change,
            fee_minor=self.fee,
            rate=rate,
            network=BITCOIN,
        )


waiting = st.builds(
    Waiting,
    input_count=st.integers(1, 300),
    scripts=st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=4).map(tuple),
    change=st.integers(0, 500_000),
    fee=st.integers(0, 3_000_000),
)


class TestReplacement:
    @given(waiting, st.integers(1_000, 50_000))
    def test_meets_the_rules(self, before: Waiting, rate: int) -> None:
        """Value is conserved, and BIP125 rules 3 and 4 hold at the default of 1 sat/vB."""
        after = before.replaced(rate)
        assume(after is not None)
        assert after is not None

        kept = [CHANGE] * (after.change_minor > 0)
        vbytes = transaction_vbytes(before.input_count, [*before.scripts, *kept])
        assert before.fee + before.change == after.fee_minor + after.change_minor
        assert after.fee_minor >= fee_minor(vbytes, rate)
        assert after.fee_minor >= before.fee + vbytes
        assert after.change_minor == 0 or after.change_minor >= dust_minor(CHANGE, BITCOIN)

    @given(waiting, st.lists(st.integers(1_000, 200_000), min_size=2, max_size=6))
    def test_costs_no_less_at_a_higher_rate(self, before: Waiting, rates: list[int]) -> None:
        """And once the change cannot pay, it never can again."""
        after = [before.replaced(rate) for rate in sorted(rates)]

        fees = [one.fee_minor if one else float("inf") for one in after]
        assert fees == sorted(fees)


class TestChild:
    @given(
        st.integers(100, 100_000),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.integers(1, 100_000),
    )
    def test_is_the_least_that_lifts_both_to_the_rate(
        self, parent_vbytes: int, parent_fee: int, change: int, rate: int
    ) -> None:
        born = child(
            parent_vbytes=parent_vbytes,
            parent_fee_minor=parent_fee,
            change_minor=change,
            rate=rate,
            network=BITCOIN,
        )

        vbytes = transaction_vbytes(1, [CHANGE])
        if born is None:
            is_paid_for = parent_fee * 1_000 > parent_vbytes * rate - 1_000
            spare = parent_fee + change - dust_minor(CHANGE, BITCOIN)
            assert is_paid_for or spare * 1_000 < (parent_vbytes + vbytes) * rate
            return
        assert born.fee_minor + born.change_minor == change
        assert (parent_fee + born.fee_minor) * 1_000 >= (parent_vbytes + vbytes) * rate
        assert (parent_fee + born.fee_minor - 1) * 1_000 < (parent_vbytes + vbytes) * rate
