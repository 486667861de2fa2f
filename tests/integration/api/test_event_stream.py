"""A user's events over a real websocket: what is sent, to whom, and when it ends."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import api.event_hub
import api.event_stream
from api.event_stream import Close
from domain.events import Event
from domain.ids import new_id
from events.outbox import publish
from infra.database import Database
from models.identity import Scope
from tests.integration.api.sockets import QUICK, listening
from tests.support.bank import Bank
from tests.support.flows import until
from tests.support.identity import Person, identity_for_tests


async def tell(bank: Bank, *names: str, person: Person | None = None) -> None:
    who = person or bank.customer
    async with bank.database.transaction() as session:
        await publish(session, *(Event(who.id, "payout.settled", name) for name in names))


@dataclass
class Reader:
    """What came over one websocket so far."""

    socket: ClientConnection
    messages: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None

    async def read(self) -> None:
        try:
            async for text in self.socket:
                self.messages.append(json.loads(text))
        except ConnectionClosed:
            pass
        self.close_code = self.socket.close_code

    @property
    def is_open(self) -> bool:
        return {"type": "stream.opened"} in self.messages

    @property
    def told(self) -> list[str]:
        return [m["resource_id"] for m in self.messages if "resource_id" in m]

    @property
    def last_id(self) -> str:
        return str([m["id"] for m in self.messages if "id" in m][-1])


@asynccontextmanager
async def reading(
    address: str,
    *,
    headers: dict[str, str] | None = None,
    first: object = None,
    path: str = "/v1/stream",
) -> AsyncIterator[Reader]:
    url = address.replace("http://", "ws://") + path
    async with connect(url, additional_headers=headers or {}, proxy=None) as socket:
        if first is not None:
            await socket.send(first if isinstance(first, str | bytes) else json.dumps(first))
        reader = Reader(socket)
        task = asyncio.create_task(reader.read())
        try:
            yield reader
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def following(
    bank: Bank, address: str, person: Person | None = None, **asked: Any
) -> AsyncIterator[Reader]:
    """Yield a reader that is sure to be told of everything from now on."""
    headers = (person or bank.customer).headers
    async with reading(address, headers=headers, **asked) as reader:
        await until(lambda: reader.is_open)
        yield reader


async def closed_with(address: str, **asked: Any) -> int | None:
    async with reading(address, **asked) as reader:
        await until(lambda: reader.close_code is not None)
        return reader.close_code


class TestStream:
    async def test_tells_a_user_of_their_own_events_alone(self, bank: Bank) -> None:
        other = await bank.person("other")
        async with (
            listening(bank, **QUICK) as address,
            following(bank, address) as reader,
            following(bank, address) as second,
            following(bank, address, other) as stranger,
        ):
            await tell(bank, "mine")
            await tell(bank, "theirs", person=other)
            await tell(bank, "mine too")
            await until(lambda: len(reader.told) == len(second.told) == 2)
            await until(lambda: len(stranger.told) == 1)

        assert reader.told == second.told == ["mine", "mine too"]
        assert stranger.told == ["theirs"]
        event = reader.messages[-1]
        assert event["type"] == "payout.settled"
        assert set(event) == {"id", "type", "timestamp", "resource_id", "data"}

    @pytest.mark.parametrize("way", ["query", "header", "message"])
    async def test_goes_on_after_the_last_event_that_was_read(
        self, bank: Bank, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.event_stream, "PAGE_EVENTS", 2)
        async with listening(bank, **QUICK) as address:
            async with following(bank, address) as reader:
                await tell(bank, "read")
                await until(lambda: reader.told == ["read"])
            last = reader.last_id
            await tell(bank, *(f"missed {n}" for n in range(5)))
            headers = bank.customer.headers
            asked: dict[str, Any] = {
                "query": {"headers": headers, "path": f"/v1/stream?last_event_id={last}"},
                "header": {"headers": headers | {"Last-Event-ID": last}},
                "message": {
                    "first": {"token": headers["Authorization"][7:], "last_event_id": last}
                },
            }
            async with reading(address, **asked[way]) as reader:
                await until(lambda: len(reader.told) == 5)
                await tell(bank, "new")
                await until(lambda: len(reader.told) == 6)

        assert reader.told == [*(f"missed {n}" for n in range(5)), "new"]

    async def test_misses_and_repeats_nothing_while_readers_come_and_go(self, bank: Bank) -> None:
        names = [f"event {n}" for n in range(60)]
        told: list[str] = []

        async def write() -> None:
            for name in names:
                await tell(bank, name)

        async with listening(bank, **QUICK) as address:
            async with following(bank, address) as first:
                await tell(bank, "first")
                await until(lambda: first.told == ["first"])
            last = first.last_id
            writing = asyncio.create_task(write())
            while len(told) < len(names):
                path = f"/v1/stream?last_event_id={last}"
                async with following(bank, address, path=path) as reader:
                    await until(lambda: len(reader.told) > 0)
                told += reader.told
                last = reader.last_id
            await writing

        assert told == names

    async def test_without_a_last_event_begins_with_what_happens_next(self, bank: Bank) -> None:
        await tell(bank, "old")
        async with listening(bank, **QUICK) as address, following(bank, address) as reader:
            await tell(bank, "new")
            await until(lambda: len(reader.told) > 0)

        assert reader.told == ["new"]

    async def test_beats_while_nothing_happens(
        self, bank: Bank, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.event_stream, "HEARTBEAT", timedelta(milliseconds=30))
        async with listening(bank, **QUICK) as address, following(bank, address) as reader:
            beats = {"type": "stream.heartbeat"}
            await until(lambda: reader.messages.count(beats) > 2)

    async def test_asks_the_database_once_for_all_readers(
        self, bank: Bank, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[int] = []
        hubs: set[api.event_hub.EventHub] = set()
        original = api.event_hub.EventHub._look

        async def counted(hub: api.event_hub.EventHub) -> None:
            looks.append(len(hub._listeners))
            hubs.add(hub)
            await original(hub)

        monkeypatch.setattr(api.event_hub.EventHub, "_look", counted)
        slow = QUICK | {"stream_interval": timedelta(milliseconds=300)}
        async with listening(bank, **slow) as address, contextlib.AsyncExitStack() as stack:
            readers = [await stack.enter_async_context(following(bank, address)) for _ in range(5)]
            before = len(looks)
            await tell(bank, "all")
            await until(lambda: all(r.told == ["all"] for r in readers))

        assert len(looks) - before <= 3
        assert max(looks) == 5
        (hub,) = hubs
        looking = hub._looking
        # Nobody listens any more, so nobody looks.
        await until(lambda: looking is not None and looking.done())


class TestEnd:
    @pytest.mark.parametrize(
        ("first", "code"),
        [
            ({}, Close.UNAUTHENTICATED),
            ({"token": "srs_wrong"}, Close.UNAUTHENTICATED),
            ({"token": "nonsense"}, Close.UNAUTHENTICATED),
            ({"token": "srs_x", "else": 1}, Close.MALFORMED),
            ({"token": "srs_x", "last_event_id": "1"}, Close.MALFORMED),
            ({"token": "srs_\x00"}, Close.MALFORMED),
            ("no json", Close.MALFORMED),
            (b"bytes", Close.MALFORMED),
            ([], Close.MALFORMED),
        ],
    )
    async def test_comes_at_once_for_who_is_nobody(
        self, bank: Bank, first: object, code: Close
    ) -> None:
        async with listening(bank, **QUICK) as address:
            assert await closed_with(address, first=first) == code

    @pytest.mark.parametrize("header", ["Bearer srs_wrong", "Basic eDp5", "Bearer", "srs_wrong"])
    async def test_comes_at_once_for_a_header_that_is_wrong(self, bank: Bank, header: str) -> None:
        async with listening(bank, **QUICK) as address:
            code = await closed_with(address, headers={"Authorization": header})

        assert code == Close.UNAUTHENTICATED

    async def test_does_not_take_a_token_from_the_address(self, bank: Bank) -> None:
        token = bank.customer.headers["Authorization"][7:]
        async with listening(bank, **QUICK) as address:
            path = f"/v1/stream?token={token}"
            assert await closed_with(address, first={}, path=path) == Close.UNAUTHENTICATED

    async def test_comes_for_a_key_without_the_scope(self, bank: Bank) -> None:
        async def key(scope: Scope) -> dict[str, str]:
            issued = await bank.identity.api_keys.issue(
                bank.customer.id, name="key", scopes=[scope], expires_at=None
            )
            return {"Authorization": f"Bearer {issued.token}"}

        async with listening(bank, **QUICK) as address:
            headers = await key(Scope.PAYOUTS_WRITE)
            assert await closed_with(address, headers=headers) == Close.NOT_ALLOWED
            async with reading(address, headers=await key(Scope.READ)) as reader:
                await until(lambda: reader.is_open)

    async def test_comes_for_an_event_of_somebody_else(self, bank: Bank) -> None:
        other = await bank.person("other")
        async with listening(bank, **QUICK) as address:
            async with following(bank, address, other) as theirs:
                await tell(bank, "theirs", person=other)
                await until(lambda: len(theirs.told) == 1)
            for unknown in (theirs.last_id, new_id("evt")):
                path = f"/v1/stream?last_event_id={unknown}"
                code = await closed_with(address, headers=bank.customer.headers, path=path)
                assert code == Close.UNKNOWN_EVENT

    async def test_comes_for_who_says_nothing(
        self, bank: Bank, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.event_stream, "OPENING", timedelta(milliseconds=50))
        async with listening(bank, **QUICK) as address:
            assert await closed_with(address) == Close.OPENING_OVERDUE

    async def test_comes_for_who_says_more(self, bank: Bank) -> None:
        async with listening(bank, **QUICK) as address, following(bank, address) as reader:
            await reader.socket.send("{}")
            await until(lambda: reader.close_code == Close.MALFORMED)

    async def test_comes_with_one_too_many(self, bank: Bank) -> None:
        settings = QUICK | {"streams_per_user_max": 1}
        async with listening(bank, **settings) as address:
            async with following(bank, address):
                code = await closed_with(address, headers=bank.customer.headers)
                assert code == Close.TOO_MANY
            await until(lambda: bank.state.stream_slots.taken == 0)
            async with following(bank, address):
                assert bank.state.stream_slots.taken == 1

    async def test_comes_when_it_has_lived_long_enough(self, bank: Bank) -> None:
        settings = QUICK | {"stream_lifetime": timedelta(milliseconds=100)}
        async with listening(bank, **settings) as address, following(bank, address) as reader:
            await until(lambda: reader.close_code == Close.LIFETIME_OVER)

    async def test_comes_for_who_reads_too_slowly(
        self, bank: Bank, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.event_hub, "BACKLOG_MAX", 3)
        async with listening(bank, **QUICK) as address, following(bank, address) as reader:
            # More at one look than there is room for.
            await tell(bank, *(f"{n}" for n in range(10)))
            await until(lambda: reader.close_code == Close.TOO_SLOW)

        assert len(reader.told) < 10
        assert reader.told == [f"{n}" for n in range(len(reader.told))]

    async def test_comes_while_the_database_is_away(self, bank: Bank) -> None:
        gone = Database("postgresql://nobody@127.0.0.1:1/none")
        identity = identity_for_tests(gone, bank.clock)
        state = dataclasses.replace(bank.state, database=gone, identity=identity)
        async with listening(dataclasses.replace(bank, state=state), **QUICK) as address:
            code = await closed_with(address, headers=bank.customer.headers)

        assert code == Close.TRY_LATER


class TestList:
    async def test_is_paged_oldest_first_and_filtered(self, bank: Bank) -> None:
        other = await bank.person("other")
        await tell(bank, "0", "1", "2")
        await tell(bank, "theirs", person=other)
        await tell(bank, "3", "4")
        found: list[str] = []
        cursor = ""
        while True:
            page = (await bank.get(f"/v1/events?limit=2{cursor}")).json()
            found += [item["resource_id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"

        assert found == ["0", "1", "2", "3", "4"]
        assert (await bank.get("/v1/events?type=deposit.seen")).json()["items"] == []

    async def test_refuses_a_cursor_of_somebody_else(self, bank: Bank) -> None:
        other = await bank.person("other")
        await tell(bank, "theirs", person=other)
        theirs = (await bank.get("/v1/events", person=other)).json()["items"][0]["id"]

        for cursor, status in ((theirs, 400), (new_id("evt"), 400), ("x", 422)):
            assert (await bank.get(f"/v1/events?cursor={cursor}")).status_code == status
