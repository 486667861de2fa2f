"""Rates: rounding never gives more than was paid for, and a median cannot be pulled away."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from domain.errors import RateUnavailableError
from domain.rates import (
    Guard,
    Observation,
    Scale,
    bought_minor,
    market_price,
    needed_minor,
    rate_of,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRICES = st.fractions(min_value=Fraction(1, 10**12), max_value=10**12)
AMOUNTS = st.integers(1, 10**30)
DECIMALS = st.integers(0, 18)


@given(PRICES, st.integers(0, 5_000), st.builds(Scale, DECIMALS, DECIMALS), AMOUNTS)
def test_what_is_bought_is_never_worth_more_than_what_is_paid(
    price: Fraction, spread_bps: int, scale: Scale, pay_minor: int
) -> None:
    rate = rate_of(price, scale, spread_bps=spread_bps)
    bought = bought_minor(pay_minor, rate)
    worth = Fraction(bought, 10**scale.buy_decimals) / price
    assert worth <= Fraction(pay_minor, 10**scale.pay_decimals)
    assert bought <= pay_minor * rate < bought + 1


@given(PRICES, AMOUNTS)
def test_what_is_needed_is_enough_and_not_a_unit_more(rate: Fraction, buy_minor: int) -> None:
    needed = needed_minor(buy_minor, rate)
    assert bought_minor(needed, rate) >= buy_minor
    assert (needed - 1) * rate < buy_minor


@given(PRICES, st.integers(0, 5_000), st.integers(0, 5_000))
def test_more_spread_never_buys_more(price: Fraction, one: int, other: int) -> None:
    narrow, wide = sorted((one, other))
    scale = Scale(8, 6)
    assert rate_of(price, scale, spread_bps=wide) <= rate_of(price, scale, spread_bps=narrow)


@given(
    st.lists(st.integers(990, 1_010), min_size=3, max_size=9),
    st.integers(0, 10**9),
    st.integers(0, 8),
)
def test_one_liar_among_many_moves_the_median_no_further_than_the_honest(
    honest: list[int], lie: int, place: int
) -> None:
    prices = [*honest[:place], max(1, lie), *honest[place:]]
    observations = [
        Observation(f"s{index}", "A-B", Fraction(price), NOW) for index, price in enumerate(prices)
    ]
    guard = Guard(timedelta(minutes=1), sources_min=2, deviation_max_bps=500)
    assert min(honest) <= market_price(observations, guard, now=NOW) <= max(honest)


@given(st.integers(-1_000, 1_000))
def test_only_fresh_prices_count(age_s: int) -> None:
    assume(abs(age_s) > 60)
    observations = [
        Observation("a", "A-B", Fraction(1), NOW),
        Observation("b", "A-B", Fraction(1), NOW - timedelta(seconds=age_s)),
    ]
    guard = Guard(timedelta(seconds=60), sources_min=2, deviation_max_bps=500)
    try:
        market_price(observations, guard, now=NOW)
    except RateUnavailableError:
        return
    raise AssertionError(age_s)
