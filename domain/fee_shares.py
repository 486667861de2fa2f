"""Splitting what a chain transaction cost among those it paid, to the last minor unit."""

from collections.abc import Sequence


def shares(total_minor: int, weights: Sequence[int]) -> list[int]:
    """
    Return each one's part of a total, in order, by the largest remainder; the sum is the total.

    Parts are proportional to ``weights``, whole numbers above zero, and within one minor unit of
    exact. Among equal remainders the heavier, then the first, get the units that are left over.

    Raises:
        ValueError: Nobody to share it, a negative total, or a weight that is not above zero.
    """
    if not weights or total_minor < 0 or min(weights) <= 0:
        msg = "A total of zero or more is shared among weights above zero."
        raise ValueError(msg)
    together = sum(weights)
    parts = [total_minor * weight // together for weight in weights]
    by_remainder = sorted(
        range(len(weights)), key=lambda i: (-(total_minor * weights[i] % together), -weights[i], i)
    )
    for i in by_remainder[: total_minor - sum(parts)]:
        parts[i] += 1
    return parts
