"""Receivers of webhooks, some of which fail now and then; and what each must have been told."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import override

from aiohttp import web
from sqlalchemy import text

from devnet.people import ScriptedUser, with_code
from devnet.site import Site
from domain.webhooks import PING, wants
from infra.database import Database
from tests.faults.findings import Findings
from tests.support.receiver import Receiver, receiving

NOBODY = "whsec_bm9ib2R5"
"""What signs nothing."""

FAILS_EVERY = 12
"""Every so many requests the receiver answers 500."""

FILTERS = (("*",), ("payout.*", "deposit.*"), ("purchase.*",), ("*",))

_EVENTS = text("SELECT id, user_id, kind, at FROM outbox_event")
_WAITING = text("""
    SELECT (SELECT count(*) FROM webhook_delivery WHERE status = 'pending')
        + (SELECT count(*) FROM webhook_delivery WHERE started_at IS NULL)
        + (SELECT count(*) FROM outbox_event e, webhook_cursor c
           WHERE (e.xid, e.seq) > (c.xid, c.seq))
""")
_OTHER = text("SELECT count(*) FROM webhook_delivery WHERE status NOT IN ('pending', 'delivered')")
_NOW = text("SELECT now()")


@dataclass
class Hall(Receiver):
    """Takes what comes, and checks its signature then: later it is too old to be good."""

    secrets: dict[str, str] = field(default_factory=dict)
    """By path."""
    heard: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Ids of events that were taken, by path."""
    unsigned: list[str] = field(default_factory=list)

    @override
    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take what is signed, but for one now and then, which must come again."""
        reply = await super().answer(request)
        came = self.received[-1]
        if not came.is_genuine(self.secrets.get(came.path, NOBODY)):
            self.unsigned.append(f"what came to {came.path} has no good signature")
        if len(self.received) % FAILS_EVERY == 0:
            return web.Response(status=500)
        self.heard[came.path].add(came.headers["webhook-id"])
        return reply


@dataclass(frozen=True)
class Told:
    """An event of the outbox."""

    event_id: str
    user_id: str
    kind: str
    at: datetime


@dataclass(frozen=True)
class Endpoint:
    """Where a user's events go to."""

    user_id: str
    path: str
    kinds: tuple[str, ...]

    def gets(self, event: Told) -> bool:
        """Tell whether an event is to come here."""
        is_mine = event.user_id == self.user_id and event.kind != PING
        return is_mine and wants(self.kinds, event.kind)


class Listeners:
    """One receiver for everybody, each under a path of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.endpoints: list[Endpoint] = []
        self.hall = Hall()
        self._stack = AsyncExitStack()
        self._since = datetime.min.replace(tzinfo=UTC)

    async def open(self, users: list[ScriptedUser]) -> None:
        """Start listening for these users; call it before anything happens to them."""
        await self._stack.enter_async_context(receiving(self.hall))
        self.endpoints = await asyncio.gather(
            *(self._subscribe(user, number) for number, user in enumerate(users))
        )
        database = Database(self.site.database_url())
        async with database.transaction() as session:
            self._since = (await session.execute(_NOW)).scalar_one()
        await database.close()

    async def close(self) -> None:
        """Stop listening."""
        await self._stack.aclose()

    @property
    def received(self) -> int:
        """How many requests came."""
        return len(self.hall.received)

    async def are_done(self) -> bool:
        """Tell whether every event was dispatched, and every delivery has ended."""
        database = Database(self.site.database_url())
        try:
            async with database.transaction() as session:
                return not (await session.execute(_WAITING)).scalar_one()
        finally:
            await database.close()

    async def findings(self) -> Findings:
        """Compare what came with what was told: lost, invented, or badly signed."""
        found = Findings()
        found.add(unbalanced=self.hall.unsigned)
        events, given_up = await self._told()
        if given_up:
            found.add(lost=[f"{given_up} webhooks were given up"])
        told = {event.event_id: event for event in events}
        for endpoint in self.endpoints:
            mine = self.hall.heard[endpoint.path]
            due = {e.event_id for e in events if endpoint.gets(e) and e.at > self._since}
            found.add(lost=[f"{event} never came to {endpoint}" for event in due - mine])
            strange = [e for e in mine if e not in told or not endpoint.gets(told[e])]
            found.add(duplicates=[f"{event} came to {endpoint}" for event in strange])
        return found

    async def _told(self) -> tuple[Sequence[Told], int]:
        """Return what is in the outbox, and how many deliveries were given up."""
        database = Database(self.site.database_url())
        try:
            async with database.snapshot() as session:
                events = [Told(*row) for row in await session.execute(_EVENTS)]
                return events, int((await session.execute(_OTHER)).scalar_one())
        finally:
            await database.close()

    async def _subscribe(self, user: ScriptedUser, number: int) -> Endpoint:
        kinds = FILTERS[number % len(FILTERS)]
        url = f"{self.hall.url}/{number}"
        body = {"url": url, "types": list(kinds)}
        issued = await asyncio.to_thread(
            with_code,
            user.authenticator,
            lambda code: user.api.send("POST", "/v1/webhook-endpoints", body, code=code),
        )
        self.hall.secrets[f"/hook/{number}"] = issued["secret"]
        return Endpoint(user.user_id, f"/hook/{number}", kinds)
