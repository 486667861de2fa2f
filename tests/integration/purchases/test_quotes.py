"""Quotes: exact, rounded in the house's favour, held for a while."""

from datetime import timedelta
from fractions import Fraction

import pytest
from sqlalchemy.exc import DBAPIError

from domain.errors import (
    AmountOutOfRangeError,
    InvalidRateTableError,
    PairNotListedError,
    RateUnavailableError,
    UnknownAssetError,
)
from domain.rate_table import parse_rate_table
from domain.rates import Observation
from gateways.rates.market import observations_of, store_observations
from gateways.rates.table import check_assets
from models.purchases import Quote
from payouts.catalog import Catalog, apply_catalog
from tests.support.purchases import ETH, ITD, OFF_CHAIN, Shop, rate_table


def market_pair(**changes: object) -> dict[str, object]:
    return {"pay_asset": "ETH", "buy_asset": "ITD", "symbol": "ETH-USD", **changes}


async def told(shop: Shop, *prices: str, age_s: int = 0) -> None:
    """Let as many sources say these prices."""
    moment = shop.clock.now() - timedelta(seconds=age_s)
    async with shop.books.worker.transaction() as session:
        await store_observations(
            session,
            [
                Observation(f"s{index}", "ETH-USD", Fraction(price), moment)
                for index, price in enumerate(prices)
            ],
        )


class TestQuote:
    async def test_says_what_an_amount_buys(self, shop: Shop) -> None:
        quote = await shop.quote(ETH)

        assert (quote.pay_minor, quote.buy_minor) == (ETH, 1_980 * ITD)
        assert quote.spread_minor == 20 * ITD
        assert quote.expires_at == shop.clock.now() + timedelta(seconds=60)

    async def test_says_what_an_amount_costs(self, shop: Shop) -> None:
        quote = await shop.quote(1_980 * ITD, side="buy")
        assert (quote.pay_minor, quote.buy_minor) == (ETH, 1_980 * ITD)

    @pytest.mark.parametrize("amount_minor", [1, 999, 1_000_001, 12_345_678])
    async def test_rounds_what_is_paid_up(self, shop: Shop, amount_minor: int) -> None:
        quote = await shop.quote(amount_minor, side="buy")
        rate = Fraction(quote.rate_numerator, quote.rate_denominator)
        assert quote.buy_minor == amount_minor
        assert amount_minor / rate <= quote.pay_minor < amount_minor / rate + 1

    async def test_refuses_what_buys_nothing(self, shop: Shop) -> None:
        with pytest.raises(AmountOutOfRangeError):
            await shop.quote(10)

    async def test_refuses_less_and_more_than_the_pair_takes(self, shop: Shop) -> None:
        pair = {**rate_table()["pairs"][0], "pay_min_minor": "1000", "pay_max_minor": str(ETH)}
        await shop.set_rates(pairs=[pair])
        for amount_minor in (999, ETH + 1):
            with pytest.raises(AmountOutOfRangeError):
                await shop.quote(amount_minor)

    async def test_refuses_what_is_not_for_sale(self, shop: Shop) -> None:
        with pytest.raises(PairNotListedError):
            await shop.quote(ETH, pay="USD")

    async def test_refuses_an_asset_that_is_switched_off(self, shop: Shop) -> None:
        itd = OFF_CHAIN.assets[0].model_copy(update={"enabled": False})
        async with shop.books.owner.transaction() as session:
            await apply_catalog(session, Catalog(assets=(itd,)))
        with pytest.raises(UnknownAssetError):
            await shop.quote()

    async def test_cannot_be_written_better_than_its_rate(self, shop: Shop) -> None:
        quote = await shop.quote()
        better = Quote(**(quote.model_dump() | {"id": "quo_better", "buy_minor": 1_981 * ITD}))
        with pytest.raises(DBAPIError, match="quote_rounding"):
            async with shop.api.transaction() as session:
                session.add(better)


class TestMarket:
    async def test_is_the_median_of_fresh_sources_that_agree(self, shop: Shop) -> None:
        await shop.set_rates(pairs=[market_pair()], sources_min=2)
        await told(shop, "2000", "2010", "2004", "9999")

        assert (await shop.quote()).buy_minor == 2_004 * ITD

    async def test_is_refused_where_too_few_are_fresh(self, shop: Shop) -> None:
        await shop.set_rates(pairs=[market_pair()], age_max_s=60)
        await told(shop, "2000", "2010")
        shop.wait(seconds=61)
        await told(shop, "2000")
        with pytest.raises(RateUnavailableError, match="1 of 2 sources have a fresh price"):
            await shop.quote()

    async def test_is_refused_where_sources_disagree(self, shop: Shop) -> None:
        await shop.set_rates(pairs=[market_pair()])
        await told(shop, "2000", "2500")
        with pytest.raises(RateUnavailableError, match="agree"):
            await shop.quote()

    async def test_does_not_go_back_in_time(self, shop: Shop) -> None:
        await told(shop, "2000")
        await told(shop, "1000", age_s=30)
        async with shop.books.worker.transaction() as session:
            (kept,) = await observations_of(session, {"ETH-USD"})
        assert kept.price == 2_000


class TestTable:
    @pytest.mark.parametrize(
        "pair",
        [
            {"pay_asset": "ETH", "buy_asset": "USD", "price": "1"},
            {"pay_asset": "ITD", "buy_asset": "ITD", "price": "1"},
            {"pay_asset": "XYZ", "buy_asset": "ITD", "price": "1"},
        ],
    )
    async def test_sells_internal_assets_of_the_catalog_alone(
        self, shop: Shop, pair: dict[str, str]
    ) -> None:
        document = parse_rate_table(rate_table(pairs=[pair]))
        async with shop.api.transaction() as session:
            with pytest.raises(InvalidRateTableError):
                await check_assets(session, document)

    @pytest.mark.parametrize(
        "pair",
        [
            {"price": "0"},
            {"price": "1e3"},
            {"price": "-1"},
            {"price": "NaN"},
            {},
            {"price": "1", "symbol": "A-B"},
            {"price": "1", "spread_bps": 5_001},
        ],
    )
    def test_refuses_what_makes_no_sense(self, pair: dict[str, object]) -> None:
        with pytest.raises(InvalidRateTableError):
            parse_rate_table({"pairs": [{"pay_asset": "ETH", "buy_asset": "ITD", **pair}]})
