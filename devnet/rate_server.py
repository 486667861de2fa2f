"""
A local server of market prices: ``python -m devnet.rate_server --port 12112``.

``GET /{source}/{base}-{quote}`` answers ``{"price": "65000.5", "time": 1770000000}``. Each source
may be told another price, to be silent, or to be old: ``POST /_test/{source}/{symbol}``.
"""

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from devnet.ports import LOOPBACK

PRICES = {"BTC-USD": "65000", "ETH-USD": "2500.5", "LTC-USD": "80.25"}
"""What every source says until it is told otherwise."""


@dataclass
class RateServer:
    """Several sources under one roof."""

    told: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """What a test made of a source's price: ``price``, ``age_s``, ``status`` or ``body``."""

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/_ready", _ready)
        app.router.add_get("/{source}/{symbol}", self._price)
        app.router.add_post("/_test/{source}/{symbol}", self._tell)
        return app

    async def _price(self, request: web.Request) -> web.Response:
        source, symbol = request.match_info["source"], request.match_info["symbol"]
        told = self.told.get((source, symbol), {})
        price = told.get("price", PRICES.get(symbol))
        if price is None or "status" in told:
            return web.json_response({"error": "no price"}, status=told.get("status", 404))
        if "body" in told:
            return web.Response(text=told["body"])
        moment = int(time.time()) - int(told.get("age_s", 0))
        return web.json_response({"price": price, "time": moment})

    async def _tell(self, request: web.Request) -> web.Response:
        key = request.match_info["source"], request.match_info["symbol"]
        self.told[key] = await request.json()
        return web.json_response({})


async def _ready(_request: web.Request) -> web.Response:
    return web.json_response({})


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    web.run_app(
        RateServer().app(),
        host=LOOPBACK,
        port=parser.parse_args().port,
        access_log=None,
        print=None,
    )


if __name__ == "__main__":
    main()
