"""
The searches behind coin selection, on bare numbers: which of these values together reach a goal.

All inputs of ours weigh the same. So what a selection wastes depends only on how many coins it
has and, without change, on how much it overshoots; that is what makes these searches short.

Values are in thousandths of the minor unit: at a rate per 1,000 virtual bytes nothing is rounded.
A selection is a tuple of positions in ``Goal.values``.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from domain.utxo.sizes import NARROW_COUNT_MAX

TRIES_MAX = 100_000
"""Steps of branch and bound, as in Bitcoin Core; some hundredths of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a selection has to reach, and what it wastes."""

    values: tuple[int, ...]
    """What each coin adds when its own input is paid for; positive, the most first."""
    needed: int
    """The outputs and everything that is paid for besides inputs, without change."""
    change_from: int
    """An overshoot of this much or more becomes change; less is left to the fee."""
    input_waste: int
    """Of one input; negative when spending it later is expected to cost more than now."""
    wide_count_fee: int
    """What it adds to ``needed`` that the number of inputs takes more than one byte."""
    inputs_max: int
    inputs_max_with_change: int

    def spare(self, count: int, value: int) -> int:
        """Return by how much so many coins of this value overshoot; negative: they fall short."""
        return value - self.needed - (self.wide_count_fee if count > NARROW_COUNT_MAX else 0)


def branch_and_bound(goal: Goal, *, tries_max: int = TRIES_MAX) -> tuple[int, ...] | None:
    """
    Return the selection without change that wastes least, or None when none was found.

    Erhardt, "An Evaluation of Coin Selection Strategies" (2016), and ``SelectCoinsBnB``: depth
    first over the coins by falling value, each taken before it is left out. A branch ends where
    it reaches the goal, cannot reach it, or cannot waste less than the best so far. With fewer
    than ``tries_max`` branches the answer is the optimum among selections that need every coin
    they have.
    """
    values = goal.values
    left = _sums_from(values)
    best: tuple[int, ...] | None = None
    best_waste = 0
    chosen: list[int] = []
    value = position = 0
    for _ in range(tries_max):
        count = len(chosen)
        spare = goal.spare(count, value)
        if spare >= 0 and chosen:
            waste = count * goal.input_waste + spare
            if spare < goal.change_from and (best is None or waste < best_waste):
                best, best_waste = tuple(chosen), waste
        elif (
            spare + left[position] >= 0
            and position < len(values)
            and count < goal.inputs_max
            and (best is None or _waste_min(goal, count, -spare, values[position]) < best_waste)
        ):
            chosen.append(position)
            value += values[position]
            position += 1
            continue
        if not chosen:
            break
        # The branches with this coin are done. Next are those without it, and so without any
        # coin of the same value: those would be the same selections again.
        position = chosen.pop()
        omitted = values[position]
        value -= omitted
        while position < len(values) and values[position] == omitted:
            position += 1
    return best


def fewest(goal: Goal) -> tuple[int, ...] | None:
    """
    Return a selection with change that has as few coins as any; None when all do not reach.

    Where inputs weigh the same, fewest is lightest (Bitcoin Core's ``CoinGrinder``). Of the coins
    that do, small ones are preferred where large ones are not needed, so that large ones remain.
    """
    reached = (
        count
        for count, value in enumerate(accumulate(goal.values), start=1)
        if goal.spare(count, value) >= goal.change_from
    )
    count = next(reached, None)
    if count is None or count > goal.inputs_max_with_change:
        return None
    return _with_smaller_coins(goal, count)


def random_draw(goal: Goal, order: Iterable[int]) -> tuple[int, ...] | None:
    """
    Return the coins drawn in this order until they reach the goal with change, or None.

    When more are drawn than fit, the smallest go back (``SelectCoinsSRD``).
    """
    drawn: list[tuple[int, int]] = []
    value = 0
    for position in order:
        heapq.heappush(drawn, (goal.values[position], position))
        value += goal.values[position]
        if len(drawn) > goal.inputs_max_with_change:
            value -= heapq.heappop(drawn)[0]
        if goal.spare(len(drawn), value) >= goal.change_from:
            return tuple(sorted(position for _, position in drawn))
    return None


def with_smallest(goal: Goal, chosen: Sequence[int], *, extra: int) -> tuple[int, ...]:
    """Return a selection with up to so many more coins, the smallest that it does not have."""
    extra = min(extra, goal.inputs_max_with_change - len(chosen))
    others = sorted(set(range(len(goal.values))) - set(chosen), reverse=True)
    return tuple(sorted([*chosen, *others[: max(0, extra)]]))


def _with_smaller_coins(goal: Goal, count: int) -> tuple[int, ...]:
    """Exchange the largest coins, last of them first, each for the smallest that still does."""
    surplus = goal.spare(count, sum(goal.values[:count])) - goal.change_from
    chosen: set[int] = set(range(count))
    for position in range(count - 1, -1, -1):
        floor = goal.values[position] - surplus
        chosen.remove(position)
        smaller = bisect_right(goal.values, -floor, key=lambda value: -value) - 1
        while smaller in chosen:
            smaller -= 1
        chosen.add(smaller)
        surplus -= goal.values[position] - goal.values[smaller]
    return tuple(sorted(chosen))


def _waste_min(goal: Goal, count: int, short: int, largest: int) -> int:
    """Return what a branch wastes at least: it is this short, and no coin left is larger."""
    if goal.input_waste <= 0:
        return goal.inputs_max * goal.input_waste
    more = -(-short // largest)
    return (count + more) * goal.input_waste


def _sums_from(values: Sequence[int]) -> list[int]:
    """Return for each position the sum of the values from there on; 0 at the end."""
    return [*accumulate(reversed(values), initial=0)][::-1]
