"""Which waiting payouts leave: the urgent at once, the others with company or when it is time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.payouts import Priority


@dataclass(frozen=True, slots=True)
class Waiting:
    """A payout that may leave."""

    payout_id: str
    asset: str
    priority: Priority
    amount_minor: int
    since: datetime
    """When it began to wait."""
    is_shareable: bool = True
    """It may share a chain transaction with others."""


@dataclass(frozen=True, slots=True)
class BatchRules:
    """When a chain's payouts leave."""

    capacity: int
    """Most payouts of one batch: that many leave at once."""
    outputs_max: int
    """Most payouts of one chain transaction."""
    wait: timedelta
    """How long payouts of normal priority wait for company."""
    economy_wait: timedelta
    transactions_max: int
    """Most chain transactions of one batch."""
    value_minor: int | None
    """So much waiting in one asset leaves at once, in its minor units."""


def leaving(waiting: Sequence[Waiting], rules: BatchRules, *, now: datetime) -> list[Waiting]:
    """
    Return which of these leave now, in the order given: that in which they have their turn.

    All leave when they fill a batch, and all of an asset when they are worth enough together. Else
    the urgent leave, all of normal priority once one has waited long enough, and the economical
    likewise. Others of their asset come along where a chain transaction has room left.

    The urgent go first, but however many they are, they leave a part of the batch to others whose
    time has come.
    """
    due = _due(waiting, rules, now=now)
    due_ids = {each.payout_id for each in due}
    urgent = [each for each in waiting if each.priority == Priority.URGENT]
    others = [each for each in due if each.priority != Priority.URGENT]
    batch = _Batch(rules)
    batch.take(urgent, spared=len(others))
    batch.take(others)
    batch.take(urgent)
    rest = [each for each in waiting if each.payout_id not in due_ids]
    batch.take(rest, only_along=len(waiting) < rules.capacity)
    return [each for each in waiting if each.payout_id in batch.chosen]


class _Batch:
    """What a batch has room for: payouts, and chain transactions that pay them."""

    def __init__(self, rules: BatchRules) -> None:
        self.chosen: set[str] = set()
        self._rules = rules
        self._transactions = 0
        self._sharing: Counter[str] = Counter()

    def take(
        self, waiting: Sequence[Waiting], *, spared: int = 0, only_along: bool = False
    ) -> None:
        """
        Take these in order, as long as there is room.

        Of ``spared`` others some must fit in after these; ``only_along`` asks for room in the
        transactions there are.
        """
        capacity = self._rules.capacity - _part(self._rules.capacity, spared)
        most = self._rules.transactions_max - _part(self._rules.transactions_max, spared)
        for each in waiting:
            is_new = (
                not each.is_shareable or not self._sharing[each.asset] % self._rules.outputs_max
            )
            has_place = not is_new or (self._transactions < most and not only_along)
            if len(self.chosen) >= capacity or each.payout_id in self.chosen or not has_place:
                continue
            self.chosen.add(each.payout_id)
            self._transactions += is_new
            self._sharing[each.asset] += each.is_shareable


def _part(whole: int, spared: int) -> int:
    """Return how much of a whole is kept for so many others: a quarter, or one of few."""
    return min(spared, max(whole // 4, 1 if whole > 1 else 0))


def _due(waiting: Sequence[Waiting], rules: BatchRules, *, now: datetime) -> list[Waiting]:
    patience = {
        Priority.URGENT: timedelta(0),
        Priority.NORMAL: rules.wait,
        Priority.ECONOMY: rules.economy_wait,
    }
    is_due = {
        priority: any(each.priority == priority and each.since <= now - wait for each in waiting)
        for priority, wait in patience.items()
    }
    # An urgent one does not wait for clocks to agree either.
    is_due[Priority.URGENT] = True
    worth: dict[str, int] = {}
    for each in waiting:
        worth[each.asset] = worth.get(each.asset, 0) + each.amount_minor
    heavy = {
        asset
        for asset, amount_minor in worth.items()
        if rules.value_minor is not None and amount_minor >= rules.value_minor
    }
    return [each for each in waiting if is_due[each.priority] or each.asset in heavy]
