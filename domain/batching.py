"""Which waiting payouts leave: the urgent at once, the others with company or when it is time."""

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
    value_minor: int | None
    """So much waiting in one asset leaves at once, in its minor units."""


def leaving(waiting: Sequence[Waiting], rules: BatchRules, *, now: datetime) -> list[Waiting]:
    """
    Return which of these leave now, in the order given: that in which they have their turn.

    All leave when they fill a batch, and all of an asset when they are worth enough together. Else
    the urgent leave, all of normal priority once one has waited long enough, and the economical
    likewise. Others of their asset come along where a chain transaction has room left.
    """
    if len(waiting) >= rules.capacity:
        return list(waiting[: rules.capacity])
    due = _due(waiting, rules, now=now)
    room = _room(due, rules.outputs_max)
    chosen = {each.payout_id for each in due}
    for each in waiting:
        if each.payout_id not in chosen and each.is_shareable and room.get(each.asset, 0):
            room[each.asset] -= 1
            chosen.add(each.payout_id)
    return [each for each in waiting if each.payout_id in chosen]


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


def _room(due: Sequence[Waiting], outputs_max: int) -> dict[str, int]:
    """Return how many more payouts of each asset fit into the transactions of those due."""
    counts: dict[str, int] = {}
    for each in due:
        if each.is_shareable:
            counts[each.asset] = counts.get(each.asset, 0) + 1
    return {asset: -count % outputs_max for asset, count in counts.items()}
