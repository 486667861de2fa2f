"""Our own Stripe and our own market on loopback, in the test's own loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from devnet.rate_server import RateServer
from devnet.stripe_server.app import StripeServer
from devnet.stripe_server.store import Store
from devnet.stripe_server.webhooks import Courier
from domain.clock import Clock

API_KEY = "sk_test_local"
WEBHOOK_SECRET = "whsec_local"


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback, and yield its address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class LocalStripe:
    """The server, and the hands of the cardholder, the network and fate."""

    url: str
    server: StripeServer
    http: httpx.AsyncClient

    async def play(self, handle: str, object_id: str = "", **form: str) -> dict[str, Any]:
        path = f"/_test/{handle}/{object_id}" if object_id else f"/_test/{handle}"
        answer = await self.http.post(path, data=form)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def pay(self, client_secret: str, card: str = "pm_card_visa") -> httpx.Response:
        """Pay as a browser does, with the publishable key and the intent's secret."""
        intent_id = client_secret.partition("_secret_")[0]
        return await self.http.post(
            f"/v1/payment_intents/{intent_id}/confirm",
            data={"client_secret": client_secret, "payment_method": card},
            headers={"Authorization": "Bearer pk_test_local"},
        )

    async def refund_elsewhere(self, amount_minor: int | None = None, intent_id: str = "") -> None:
        """Give a payment back in the dashboard, all of it or a part."""
        chosen = intent_id or self.only("payment_intent")["id"]
        data = {"payment_intent": chosen}
        if amount_minor is not None:
            data["amount"] = str(amount_minor)
        key = {"Authorization": f"Bearer {self.server.api_key}"}
        answer = await self.http.post("/v1/refunds", data=data, headers=key)
        assert answer.status_code == 200, answer.text

    @property
    def things(self) -> dict[str, dict[str, dict[str, Any]]]:
        return self.server.store.things

    def only(self, kind: str) -> dict[str, Any]:
        (thing,) = self.things[kind].values()
        return thing


@asynccontextmanager
async def local_stripe(
    path: Path | None = None, clock: Clock | None = None
) -> AsyncIterator[LocalStripe]:
    store = Store(path, clock)
    server = StripeServer(API_KEY, Courier(store, WEBHOOK_SECRET), store)
    async with (
        served(server.app()) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as http,
    ):
        yield LocalStripe(url, server, http)


@dataclass
class LocalMarket:
    """Sources of prices, and what they are told to say."""

    url: str
    server: RateServer

    def tell(self, source: str, symbol: str, **told: Any) -> None:
        self.server.told[source, symbol] = told


@asynccontextmanager
async def local_market() -> AsyncIterator[LocalMarket]:
    server = RateServer()
    async with served(server.app()) as url:
        yield LocalMarket(url, server)
