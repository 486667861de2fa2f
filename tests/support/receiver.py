"""A receiver of webhooks: a real HTTP server on loopback that checks signatures by the library."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

type Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def is_genuine(self, secret: str) -> bool:
        """Tell what a receiver with this secret makes of it."""
        try:
            Webhook(secret).verify(self.body, self.headers)
        except WebhookVerificationError:
            return False
        return True


@dataclass
class Receiver:
    """What came, and what is answered."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    """One for each request to come; after the last one everything is taken."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever something came."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path, headers, body))
        self.news.set()
        reply = self.replies.pop(0) if self.replies else status(204)
        return await reply(request)


def status(code: int, text: str = "", **headers: str) -> Reply:
    """Return a reply with this status."""

    async def reply(request: web.Request) -> web.StreamResponse:
        del request
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, text=text, headers=given)

    return reply


async def never(request: web.Request) -> web.StreamResponse:
    """Take the request and say nothing."""
    del request
    await asyncio.Event().wait()
    raise AssertionError


async def endless(request: web.Request) -> web.StreamResponse:
    """Answer 200, and never stop talking."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def drops(request: web.Request) -> web.StreamResponse:
    """Hang up."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def receiving[R: Receiver](receiver: R) -> AsyncIterator[R]:
    """Yield a receiver on a free port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.answer)
    # What never answers is not waited for at the end.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()
