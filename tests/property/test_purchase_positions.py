"""Where the books of a purchase belong: whatever comes and goes, no unit is made or lost."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from domain.purchases import (
    CardFacts,
    Lot,
    Position,
    Terms,
    card_position,
    chain_position,
    credited_minor,
    late_rate,
)

AMOUNTS = st.integers(1, 10**24)
TERMS = st.builds(Terms, AMOUNTS, AMOUNTS)


@st.composite
def lots_of(draw: st.DrawFn) -> tuple[Terms, list[Lot]]:
    """Return terms, and parts of the quoted amount, some of them late at a worse rate."""
    terms = draw(TERMS)
    room, lots = terms.pay_minor, []
    for share in draw(st.lists(st.fractions(0, 1), max_size=6)):
        part = int(room * share)
        room -= part
        worse = draw(st.none() | st.fractions(0, 1))
        lots.append(Lot(part, None if worse is None else terms.rate * worse))
    return terms, lots


@given(lots_of(), st.integers(0, 10**24))
def test_never_more_is_credited_than_quoted_or_than_the_rate_gives(
    given_lots: tuple[Terms, list[Lot]], taken_back: int
) -> None:
    terms, lots = given_lots
    credited = credited_minor(terms, lots, taken_back_minor=taken_back)
    gross = sum(lot.converted_minor for lot in lots)
    assert 0 <= credited <= terms.buy_minor
    assert credited <= max(0, gross - taken_back) * terms.rate


@given(TERMS)
def test_the_whole_price_buys_the_whole_amount(terms: Terms) -> None:
    assert credited_minor(terms, [Lot(terms.pay_minor)]) == terms.buy_minor


@given(TERMS, st.lists(st.fractions(0, 1), max_size=6))
def test_parts_buy_together_what_their_sum_buys(terms: Terms, shares: list[Fraction]) -> None:
    room, lots = terms.pay_minor, []
    for share in shares:
        lots.append(Lot(int(room * share)))
        room -= lots[-1].converted_minor
    total = Lot(sum(lot.converted_minor for lot in lots))
    assert credited_minor(terms, lots) == credited_minor(terms, [total])


@given(lots_of(), st.integers(0, 10**24), st.integers(0, 10**24))
def test_taking_more_back_never_leaves_more(
    given_lots: tuple[Terms, list[Lot]], one: int, other: int
) -> None:
    less, more = sorted((one, other))
    terms, lots = given_lots
    assert credited_minor(terms, lots, taken_back_minor=more) <= credited_minor(
        terms, lots, taken_back_minor=less
    )


@given(lots_of(), st.integers(0, 10**24), st.integers(0, 10**24))
def test_what_came_on_a_chain_is_ours_or_the_customers(
    given_lots: tuple[Terms, list[Lot]], excess: int, taken_back: int
) -> None:
    terms, lots = given_lots
    received = sum(lot.converted_minor for lot in lots) + excess
    position = chain_position(terms, lots, received_minor=received, taken_back_minor=taken_back)
    assert position.cash_minor == position.rest_minor + position.converted_minor == received
    assert min(position.rest_minor, position.converted_minor) >= 0


def test_nothing_paid_is_nothing_booked() -> None:
    terms = Terms(3, 7)
    assert chain_position(terms, [], received_minor=0, taken_back_minor=0) == Position()
    assert card_position(terms, CardFacts(), rate=terms.rate) == Position()


@given(TERMS, st.data())
def test_a_card_payment_is_ours_owed_back_or_gone(terms: Terms, data: st.DataObject) -> None:
    received = terms.pay_minor
    ours_done = data.draw(st.integers(0, received))
    elsewhere = data.draw(st.integers(0, received - ours_done))
    requested = data.draw(st.integers(0, received - ours_done - elsewhere))
    disputed = data.draw(st.integers(0, received))
    facts = CardFacts(received, ours_done + elsewhere, disputed, ours_done, requested)
    position = card_position(terms, facts, rate=terms.rate)
    gone = ours_done + elsewhere + disputed

    assert position.cash_minor == received - gone
    assert position.converted_minor == max(0, received - gone - requested)
    assert position.credited_minor <= position.converted_minor * terms.rate
    if gone + requested <= received:
        assert position.cash_minor == position.converted_minor + position.rest_minor


@given(TERMS, st.integers(0, 10**24))
def test_a_card_payment_that_buys_nothing_is_owed_back(terms: Terms, refunded: int) -> None:
    facts = CardFacts(terms.pay_minor, min(refunded, terms.pay_minor), 0, 0, 0)
    position = card_position(terms, facts, rate=None)
    assert (position.rest_minor, position.credited_minor) == (position.cash_minor, 0)


@given(TERMS, st.fractions(min_value=0, max_value=2), st.integers(0, 10_000))
def test_a_late_payment_never_buys_better_than_the_quote(
    terms: Terms, moved: Fraction, tolerance_bps: int
) -> None:
    present = terms.rate * moved
    rate = late_rate(terms, present, tolerance_bps=tolerance_bps)
    if rate is None:
        assert abs(moved - 1) > Fraction(tolerance_bps, 10_000)
    else:
        assert rate == min(present, terms.rate)
