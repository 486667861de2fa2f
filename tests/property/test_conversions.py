"""Conversions: nobody gets more than the rate gives; what does not take place changes nothing."""

from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.conversions import Redeemed, fee_in_paid, redeemed, settled_rate
from domain.pockets import Route
from domain.purchases import Terms
from domain.rate_table import Purpose, RateTableDocument
from domain.rates import BPS
from ledger import chart, conversion_rules, pocket_rules
from ledger.conversion_rules import Journey, Swap
from ledger.pocket_rules import Part, Purse
from ledger.posting import Posting

AT = datetime(2026, 1, 1, tzinfo=UTC)
USER, CHAIN = "u1", "eip155:1"
JOURNEY = Journey("ptr_1", USER, CHAIN)
STOCK = 10**40

amounts = st.integers(1, 10**30)
terms = st.builds(Terms, amounts, amounts)


@st.composite
def swaps(draw: st.DrawFn, route: Route) -> Swap:
    quoted = draw(terms)
    is_fund = route == Route.FUND
    return Swap(
        pay_asset="A",
        pay_minor=quoted.pay_minor,
        fee_minor=fee_in_paid(quoted, draw(st.integers(0, 10**6))) if is_fund else 0,
        buy_asset="B",
        buy_minor=quoted.buy_minor,
        # What lies on a pocket is on a chain.
        is_pay_issued=is_fund and draw(st.booleans()),
        is_buy_issued=not is_fund and draw(st.booleans()),
    )


class Books:
    """Balances in memory, of a user with just enough and of a house with its stock."""

    def __init__(self, route: Route, swap: Swap) -> None:
        self.route, self.swap = route, swap
        self.purse = Purse(USER, CHAIN, route.spends_pocket)
        held_minor = swap.pay_minor + swap.fee_minor
        self.part = Part("ptr_1", self.purse, "hol_1", swap.pay_asset, held_minor, swap=swap)
        self.balances: Counter[tuple[str, str]] = Counter()
        self.balances[self.purse.free, "A"] = held_minor
        for asset in ("A", "B"):
            self.balances[chart.CONVERSION_STOCK, asset] = STOCK
        self.before = dict(self.balances)

    def post(self, posting: Posting) -> None:
        for entry in posting.entries:
            self.balances[entry.account, entry.asset] += entry.amount_minor
        for asset in ("A", "B"):
            assert self.of(chart.CONVERSION_RESERVED, asset) >= 0
            assert self.of(chart.CONVERSION_STOCK, asset) >= 0

    def of(self, account: str, asset: str) -> int:
        return self.balances[account, asset]

    def go(self) -> None:
        """Freeze, and take into flight."""
        self.post(pocket_rules.pocket_freeze(self.part, at=AT))
        self.post(pocket_rules.pocket_dispatch(self.part, at=AT))

    def present(self) -> dict[tuple[str, str], int]:
        return {place: minor for place, minor in self.balances.items() if minor}


class TestRedeemed:
    @given(terms, st.integers(0, 10**31), st.one_of(st.none(), st.builds(Fraction, amounts)))
    def test_is_never_more_than_the_rate_gives(
        self, quoted: Terms, arrived_minor: int, rate: Fraction | None
    ) -> None:
        got = redeemed(quoted, arrived_minor, rate)

        assert got.converted_minor + got.rest_minor == arrived_minor
        assert 0 <= got.given_minor <= quoted.buy_minor
        assert got.given_minor <= got.converted_minor * quoted.rate
        assert got.converted_minor <= quoted.pay_minor
        if rate is not None:
            assert got.given_minor <= got.converted_minor * rate
        if got.given_minor == 0:
            assert got.converted_minor == 0, "what buys nothing stays what it is"

    @given(terms)
    def test_of_all_at_the_locked_rate_is_what_was_quoted(self, quoted: Terms) -> None:
        got = redeemed(quoted, quoted.pay_minor, quoted.rate)
        assert got == Redeemed(quoted.pay_minor, 0, quoted.buy_minor)

    @given(terms, st.integers(0, 10**31), st.integers(0, 10**31))
    def test_grows_with_what_arrives(self, quoted: Terms, less: int, more: int) -> None:
        first, second = (redeemed(quoted, a, quoted.rate) for a in sorted((less, more)))
        assert first.given_minor <= second.given_minor

    @given(terms, st.builds(Fraction, amounts, amounts), st.integers(0, BPS))
    def test_when_late_is_at_the_worse_rate_or_not_at_all(
        self, quoted: Terms, present: Fraction, tolerance_bps: int
    ) -> None:
        rate = settled_rate(quoted, is_late=True, present=present, tolerance_bps=tolerance_bps)
        assert rate is None or rate == min(present, quoted.rate)
        assert settled_rate(quoted, is_late=True, present=None, tolerance_bps=BPS) is None

    @given(terms, st.integers(0, 10**20))
    def test_a_fee_is_rounded_up(self, quoted: Terms, fee_minor: int) -> None:
        paid_minor = fee_in_paid(quoted, fee_minor)
        assert (paid_minor - 1) * quoted.rate < fee_minor <= paid_minor * quoted.rate or (
            paid_minor == fee_minor == 0
        )


class TestBooks:
    @given(st.sampled_from([Route.FUND, Route.REDEEM]), st.data())
    def test_release_gives_back_exactly_what_was_there(
        self, route: Route, data: st.DataObject
    ) -> None:
        books = Books(route, data.draw(swaps(route)))
        books.post(pocket_rules.pocket_freeze(books.part, at=AT))
        if data.draw(st.booleans()):
            books.post(pocket_rules.pocket_dispatch(books.part, at=AT))
            books.post(pocket_rules.pocket_return(books.part, at=AT))
        else:
            books.post(pocket_rules.pocket_release(books.part, is_expiry=False, at=AT))
        assert books.present() == books.before

    @given(swaps(Route.FUND))
    def test_a_funded_pocket_has_what_was_quoted(self, swap: Swap) -> None:
        books = Books(Route.FUND, swap)
        books.go()
        minor = swap.buy_minor
        books.post(
            conversion_rules.fund_settle(
                JOURNEY, swap, left_minor=minor, arrived_minor=minor, at=AT
            )
        )

        assert books.of(chart.onchain(USER, CHAIN), "B") == minor
        assert books.of(chart.available(USER), "A") == books.of(chart.inflight(CHAIN), "A") == 0
        assert books.of(chart.CONVERSION_RESERVED, "B") == 0
        assert books.of(chart.CONVERSION_STOCK, "B") == STOCK - minor
        earned = books.of(swap.taken_by, "A") - (0 if swap.is_pay_issued else STOCK)
        assert (earned, books.of(chart.SERVICE_FEES, "A")) == (swap.pay_minor, swap.fee_minor)

    @given(swaps(Route.REDEEM), st.data())
    def test_a_balance_has_what_arrived_buys(self, swap: Swap, data: st.DataObject) -> None:
        books = Books(Route.REDEEM, swap)
        books.go()
        arrived_minor = data.draw(st.integers(0, swap.pay_minor))
        quoted = Terms(swap.pay_minor, swap.buy_minor)
        got = redeemed(quoted, arrived_minor, data.draw(st.sampled_from([quoted.rate, None])))
        books.post(
            conversion_rules.redeem_settle(JOURNEY, swap, left_minor=swap.pay_minor, got=got, at=AT)
        )

        assert books.of(chart.available(USER), "B") == got.given_minor
        assert books.of(chart.available(USER), "A") == got.rest_minor
        assert books.of(chart.CONVERSION_RESERVED, "B") == 0
        assert books.of(chart.omnibus_hot(CHAIN), "A") == -arrived_minor
        given_minor = 0 if swap.is_buy_issued else got.given_minor
        assert books.of(chart.CONVERSION_STOCK, "B") == STOCK - given_minor

    @given(st.sampled_from([Route.FUND, Route.REDEEM]), st.data())
    def test_what_the_chain_takes_back_is_undone_but_for_the_fee(
        self, route: Route, data: st.DataObject
    ) -> None:
        swap = data.draw(swaps(route))
        books = Books(route, swap)
        books.go()
        about: dict[str, Any] = {"chain_transaction_id": "txr_1", "settlement": 1, "at": AT}
        if route == Route.FUND:
            minor = swap.buy_minor
            books.post(
                conversion_rules.fund_settle(
                    JOURNEY, swap, left_minor=minor, arrived_minor=minor, at=AT
                )
            )
            books.post(
                conversion_rules.fund_fix(
                    JOURNEY, swap, left_minor=-minor, arrived_minor=-minor, **about
                )
            )
        else:
            quoted = Terms(swap.pay_minor, swap.buy_minor)
            got = redeemed(quoted, swap.pay_minor, quoted.rate)
            books.post(
                conversion_rules.redeem_settle(
                    JOURNEY, swap, left_minor=swap.pay_minor, got=got, at=AT
                )
            )
            back = Redeemed().minus(got)
            books.post(
                conversion_rules.redeem_fix(
                    JOURNEY, swap, left_minor=-swap.pay_minor, got=back, **about
                )
            )
        books.balances[chart.SERVICE_FEES, "A"] -= swap.fee_minor
        books.balances[books.purse.free, "A"] += swap.fee_minor
        assert books.present() == books.before


class TestRates:
    @given(
        st.sampled_from([("ETH", "ITD"), ("ITD", "ETH"), ("BTC", "ETH"), ("ETH", "BTC")]),
        st.integers(0, 500),
    )
    def test_there_and_back_again_gains_nothing(
        self, pair: tuple[str, str], spread_bps: int
    ) -> None:
        listed = [
            {
                "pay_asset": code,
                "buy_asset": "ITD",
                "price": price,
                "spread_bps": spread_bps,
                "purposes": ["conversion"],
            }
            for code, price in (("ETH", "2000"), ("BTC", "65000.5"))
        ]
        document = RateTableDocument.model_validate({"pairs": listed})
        kept = Fraction(1)
        for ends in (pair, pair[::-1]):
            legs = document.legs_of(*ends, Purpose.CONVERSION)
            assert (legs[0].pay_asset, legs[-1].buy_asset) == ends
            for leg in legs:
                price = leg.pair.fixed_price
                assert price is not None
                kept *= leg.kept * (1 / price if leg.is_inverted else price)
        assert kept <= 1
        assert (kept == 1) == (spread_bps == 0)
