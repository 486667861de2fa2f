"""
Events and their delivery: signed, in order, again and again until somebody takes them.

A test may ask for the next ones to be lost, doubled, or held back and sent the other way round.
"""

import asyncio
import copy
import json
import logging
import time
from collections import deque
from dataclasses import dataclass, field

import httpx
import stripe

from devnet.stripe_server.store import Store, Thing

API_VERSION = "2026-10-28.endive"
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between tries; the last one is repeated. Stripe takes hours, tests do not."""
TIMEOUT_S = 20.0

logger = logging.getLogger(__name__)


def announce(store: Store, kind: str, about: Thing) -> Thing:
    """Note that something happened, as it is now, and have it delivered."""
    event = store.add(
        "event",
        type=kind,
        api_version=API_VERSION,
        data={"object": copy.deepcopy(about)},
        pending_webhooks=1,
        request=None,
    )
    store.deliveries[event["id"]] = {"tries": 0}
    return event


@dataclass
class Mischief:
    """What is to go wrong with the next deliveries."""

    lose: int = 0
    """So many are never sent, not even again."""
    double: int = 0
    """So many are sent twice."""
    is_held: bool = False
    """Nothing is sent until it is released, and then the newest comes first."""


@dataclass
class Courier:
    """Delivers events to one receiver."""

    store: Store
    secret: str
    url: str | None = None
    mischief: Mischief = field(default_factory=Mischief)
    sent: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=10_000))
    """Event and the receiver's status, of every try."""

    def __post_init__(self) -> None:
        """Be ready to be woken."""
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_reversed = False

    def wake(self) -> None:
        """There may be something to deliver."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver for as long as the server runs."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            try:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    self._start(client)
            finally:
                for task in self._tasks.values():
                    task.cancel()
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _start(self, client: httpx.AsyncClient) -> None:
        if self.url is None or self.mischief.is_held:
            return
        waiting = [e for e in self.store.deliveries if e not in self._tasks]
        if self._is_reversed:
            waiting.reverse()
            self._is_reversed = False
        for event_id in waiting:
            if self.mischief.lose:
                self.mischief.lose -= 1
                del self.store.deliveries[event_id]
                continue
            times = 2 if self.mischief.double else 1
            self.mischief.double = max(0, self.mischief.double - 1)
            self._tasks[event_id] = asyncio.create_task(self._deliver(client, event_id, times))

    def release(self) -> None:
        """Send what was held back, the newest first."""
        self.mischief.is_held = False
        self._is_reversed = True
        self.wake()

    async def _deliver(self, client: httpx.AsyncClient, event_id: str, times: int) -> None:
        try:
            for turn in range(1_000):
                outcomes = [await self.send(client, event_id) for _ in range(times)]
                if any(200 <= status < 300 for status in outcomes):  # noqa: PLR2004
                    self.store.deliveries.pop(event_id, None)
                    self.store.get("event", event_id)["pending_webhooks"] = 0
                    self.store.save()
                    return
                await asyncio.sleep(RETRY_S[min(turn, len(RETRY_S) - 1)])
        finally:
            self._tasks.pop(event_id, None)

    async def send(self, client: httpx.AsyncClient, event_id: str) -> int:
        """Send one event once, signed now; return the receiver's status, 0 without an answer."""
        payload = json.dumps(self.store.get("event", event_id))
        signature = stripe.WebhookSignature.generate_signature_header(
            payload, self.secret, timestamp=int(time.time())
        )
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        try:
            answer = await client.post(str(self.url), content=payload, headers=headers)
            status = answer.status_code
        except httpx.HTTPError as error:
            logger.info("delivery of %s failed: %s", event_id, type(error).__name__)
            status = 0
        self.sent.append((event_id, status))
        return status
