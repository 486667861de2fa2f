"""Sources of rates over HTTP: exact prices, and no harm from what is no price."""

import json
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any

import pytest
from pydantic import ValidationError

from domain.clock import SystemClock
from domain.errors import RateUnavailableError
from gateways.rates.http_source import HttpRateSource, open_sources
from tests.support.gateways import LocalMarket, local_market


@pytest.fixture
async def market() -> AsyncIterator[LocalMarket]:
    async with local_market() as opened:
        yield opened


@pytest.fixture
async def source(market: LocalMarket) -> AsyncIterator[HttpRateSource]:
    settings = [{"name": "a", "url": f"{market.url}/a/{{base}}-{{quote}}", "time_pointer": "/time"}]
    (source,), close = open_sources(json.dumps(settings), SystemClock())
    yield source
    await close()


class TestSource:
    @pytest.mark.parametrize("price", ["65000.123456789012345678", "0.00000001", 65000, 0.1])
    async def test_says_exactly_what_was_said(
        self, market: LocalMarket, source: HttpRateSource, price: Any
    ) -> None:
        market.tell("a", "BTC-USD", price=price)
        (seen,) = await source.observe(["BTC-USD"])
        assert (seen.source, seen.price) == ("a", Fraction(str(price)))

    @pytest.mark.parametrize(
        "told",
        [
            {"status": 500},
            {"status": 404},
            {"body": "not JSON"},
            {"body": "[]"},
            {"body": '{"price": null, "time": 1}'},
            {"body": '{"price": "1", "time": "yesterday"}'},
            {"body": '{"price": "1", "time": 99999999999999999999}'},
            {"body": '{"price": "1", "time": 1795266000000000000}'},
            {"body": '{"price": "1", "time": "9999-12-31T23:59:59-14:00"}'},
            {"body": '{"price": "1", "time": "0001-01-01T00:00:00Z"}'},
            {"body": "[" * 60_000},
            {"body": '{"price": "1"' + " " * 70_000 + "}"},
            {"price": "0"},
            {"price": "-1"},
            {"price": "NaN"},
            {"price": "1e9"},
        ],
    )
    async def test_has_none_where_there_is_no_price(
        self, market: LocalMarket, source: HttpRateSource, told: dict[str, Any]
    ) -> None:
        market.tell("a", "BTC-USD", **told)
        with pytest.raises(RateUnavailableError):
            await source.observe(["BTC-USD"])

    async def test_says_what_it_knows_where_something_is_missing(
        self, market: LocalMarket, source: HttpRateSource
    ) -> None:
        market.tell("a", "BTC-USD", status=500)
        seen = await source.observe(["BTC-USD", "ETH-USD"])
        assert [each.symbol for each in seen] == ["ETH-USD"]

    async def test_is_of_the_time_that_it_says(
        self, market: LocalMarket, source: HttpRateSource
    ) -> None:
        market.tell("a", "BTC-USD", price="1", age_s=3_600)
        (seen,) = await source.observe(["BTC-USD"])
        assert 3_500 < (SystemClock().now() - seen.observed_at).total_seconds() < 3_700

    @pytest.mark.parametrize(
        "url", ["http://example.org", "http://127.0.0.1.example.org", "ftp://x"]
    )
    def test_is_asked_by_https(self, url: str) -> None:
        with pytest.raises(ValidationError):
            open_sources(json.dumps([{"name": "a", "url": url}]), SystemClock())
