"""
Rates between assets, exactly: rationals all the way, rounded once, in the house's favour.

A *price* is whole units of the asset that is bought for one whole unit of the asset that pays. A
*rate* is the same in minor units of both, with the spread taken off.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from statistics import median

from domain.errors import RateUnavailableError

BPS = 10_000
"""Basis points of the whole."""

PRICE_PATTERN = r"[0-9]{1,30}(\.[0-9]{1,30})?"
_PRICE = re.compile(PRICE_PATTERN, re.ASCII)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one source said that one symbol, such as ``BTC-USD``, was worth at a moment."""

    source: str
    symbol: str
    price: Fraction
    observed_at: datetime
    """By the source's own clock."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What makes several sources trustworthy together."""

    age_max: timedelta
    sources_min: int
    deviation_max_bps: int
    """A source further from the median than this is left out."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The decimals of the asset that pays and of the one that is bought."""

    pay_decimals: int
    buy_decimals: int


def parse_price(text: str) -> Fraction:
    """
    Return a price that is written as a plain decimal number above zero.

    Raises:
        ValueError: It is not; an exponent, a sign or "NaN" is not plain.
    """
    if not _PRICE.fullmatch(text) or not (price := Fraction(text)):
        msg = "A price is a plain decimal number above zero."
        raise ValueError(msg)
    return price


def market_price(observations: Sequence[Observation], guard: Guard, *, now: datetime) -> Fraction:
    """
    Return the median of what fresh sources say, those that stray from it left out.

    Raises:
        RateUnavailableError: Too few are fresh, or too few agree.
    """
    # A clock that is ahead of ours by as much is no fresher than one that is behind.
    fresh = [o.price for o in observations if abs(now - o.observed_at) <= guard.age_max]
    if len(fresh) < guard.sources_min:
        msg = f"{len(fresh)} of {guard.sources_min} sources have a fresh price."
        raise RateUnavailableError(msg)
    middle = median(fresh)
    near = [price for price in fresh if deviation_bps(price, middle) <= guard.deviation_max_bps]
    if len(near) < guard.sources_min:
        msg = f"{len(near)} of {guard.sources_min} sources agree on a price."
        raise RateUnavailableError(msg)
    return median(near)


def deviation_bps(value: Fraction, reference: Fraction) -> Fraction:
    """Return by how much a value is off a reference, in basis points of the reference."""
    return abs(value - reference) / reference * BPS


def rate_of(price: Fraction, scale: Scale, *, spread_bps: int) -> Fraction:
    """Return minor units bought for one minor unit paid, the spread taken off."""
    kept = Fraction(BPS - spread_bps, BPS)
    return price * kept * Fraction(10) ** (scale.buy_decimals - scale.pay_decimals)


def bought_minor(pay_minor: int, rate: Fraction) -> int:
    """Return what an amount buys, rounded down: the fraction of a minor unit is the house's."""
    return pay_minor * rate.numerator // rate.denominator


def needed_minor(buy_minor: int, rate: Fraction) -> int:
    """Return what an amount costs, rounded up."""
    return -(-buy_minor * rate.denominator // rate.numerator)
