"""The fee of a mix: an exact fraction, rounded so that no remainder tells whose money it was."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class FeeSplit:
    """What becomes of what came in; both parts together are the whole, to the unit."""

    fee_minor: int
    owed_minor: int
    """What is doled out: a multiple of the smallest denomination."""


def split_fee(deposit_minor: int, rate: Fraction, *, grain_minor: int) -> FeeSplit:
    """
    Return the fee and what is doled out, of which every part is a multiple of the grain.

    The fee is the exact fraction of the deposit, rounded *up* to where the rest is a multiple of
    the grain: it is never less than the rate says, and less than one grain more. Were the rest paid
    out to the last unit, an amount that nobody else is paid would lead from payment to deposit.

    Raises:
        ValueError: A negative deposit, a grain that is not above zero, or a rate out of [0, 1).
    """
    if deposit_minor < 0 or grain_minor <= 0 or not 0 <= rate < 1:
        msg = "A fee is a fraction in [0, 1) of what is not negative, with a grain above zero."
        raise ValueError(msg)
    left = deposit_minor * (1 - rate)
    owed_minor = left // grain_minor * grain_minor
    return FeeSplit(deposit_minor - owed_minor, owed_minor)


def least_deposit_minor(owed_minor: int, rate: Fraction) -> int:
    """Return the smallest deposit that, less the exact fee, leaves this much."""
    return -(-owed_minor * rate.denominator // (rate.denominator - rate.numerator))
