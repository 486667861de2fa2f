"""How patiently a transaction that no block takes is replaced, and up to which cost."""

from datetime import timedelta

DOUBLINGS_MAX = 6
"""The wait before a replacement grows to 64 times the first, an hour where that is a minute."""


def patience(bump_after_s: int, replacements: int) -> timedelta:
    """Return how long to wait for the newest attempt, after so many replacements."""
    return timedelta(seconds=bump_after_s * 2 ** min(replacements, DOUBLINGS_MAX))


def is_within_budget(cost_minor: int, budget_minor: int | None) -> bool:
    """Tell whether a chain transaction may cost so much; no budget is no bound."""
    return budget_minor is None or cost_minor <= budget_minor


def is_spent(cost_minor: int, budget_minor: int | None) -> bool:
    """Tell whether no replacement fits any more: the least one costs an eighth more."""
    return not is_within_budget(cost_minor + -(-cost_minor // 8), budget_minor)
