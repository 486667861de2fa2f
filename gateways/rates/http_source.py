"""A rate source over HTTP: one GET per symbol, and JSON pointers (RFC 6901) to what is wanted."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from domain.clock import Clock
from domain.errors import RateUnavailableError
from domain.rates import Observation, parse_price

TIMEOUT_S = 5.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
BYTES_MAX = 64 * 1024
"""An answer that is longer is no price."""
OFF_MAX = timedelta(days=1)
"""A time that is further off is a mistake; one in the future would outlast every later price."""
_NO_PRICE = (
    httpx.HTTPError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    OSError,  # of a time in nanoseconds
    RecursionError,  # of brackets in brackets
)


class HttpSourceSettings(BaseModel):
    """Where a source answers, and where in its answer the price stands."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    url: str
    """With ``{base}`` and ``{quote}``, the two halves of a symbol."""
    price_pointer: str = Field(default="/price", pattern=r"^/")
    time_pointer: str | None = Field(default=None, pattern=r"^/")
    """RFC 3339, or seconds since 1970; None: the moment of the answer counts."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if httpx.URL(url).scheme != "https" and httpx.URL(url).host not in _LOOPBACK:
            msg = "A rate source is asked by HTTPS."
            raise ValueError(msg)
        return url


_SOURCES = TypeAdapter(list[HttpSourceSettings])


class HttpRateSource:
    """``domain.gateway_ports.RateSource`` over HTTP."""

    def __init__(
        self, settings: HttpSourceSettings, client: httpx.AsyncClient, clock: Clock
    ) -> None:
        """Take where to ask, the client that asks, and the clock for answers without a time."""
        self.name = settings.name
        self._settings = settings
        self._client = client
        self._clock = clock

    async def observe(self, symbols: Collection[str]) -> Sequence[Observation]:
        """Return the prices of these symbols; raise RateUnavailableError where none came."""
        asked = await asyncio.gather(*(self._one(s) for s in symbols), return_exceptions=True)
        found = [each for each in asked if isinstance(each, Observation)]
        for each in asked:
            if isinstance(each, BaseException) and not isinstance(each, RateUnavailableError):
                raise each
        if symbols and not found:
            msg = f"{self.name} gave no price."
            raise RateUnavailableError(msg)
        return found

    async def _one(self, symbol: str) -> Observation:
        base, _, quote = symbol.partition("-")
        url = self._settings.url.replace("{base}", base).replace("{quote}", quote)
        try:
            async with self._client.stream("GET", url, timeout=TIMEOUT_S) as answer:
                answer.raise_for_status()
                body = b""
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > BYTES_MAX:
                        msg = f"{self.name} answers more than a price."
                        raise RateUnavailableError(msg)
            # Numbers stay text: a float on the way would not be the price that was said.
            document = json.loads(body, parse_float=str, parse_int=str)
            price = parse_price(str(_pointed(document, self._settings.price_pointer)))
            moment = self._plausible(self._moment(document))
        except _NO_PRICE as error:
            msg = f"{self.name} gave no price of {symbol}."
            raise RateUnavailableError(msg) from error
        return Observation(self.name, symbol, price, moment)

    def _plausible(self, moment: datetime) -> datetime:
        if abs(moment - self._clock.now()) > OFF_MAX:
            msg = "Nobody's clock is that wrong."
            raise ValueError(msg)
        return moment

    def _moment(self, document: Any) -> datetime:
        pointer = self._settings.time_pointer
        if pointer is None:
            return self._clock.now()
        text = str(_pointed(document, pointer))
        if text.isdecimal():
            return datetime.fromtimestamp(int(text), UTC)
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def open_sources(
    settings: str, clock: Clock
) -> tuple[list[HttpRateSource], Callable[[], Awaitable[None]]]:
    """Return the sources that JSON settings name, and what closes their connections."""
    # It logs addresses, and those may hold a key.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    client = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)
    found = [HttpRateSource(each, client, clock) for each in _SOURCES.validate_json(settings)]
    return found, client.aclose


def _pointed(document: Any, pointer: str) -> Any:
    """Return what an RFC 6901 pointer points to; raise LookupError or TypeError else."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document
