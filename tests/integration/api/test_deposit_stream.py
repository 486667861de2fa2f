"""A deposit's progress over a real socket: what is sent, when it ends, and what it holds."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, override

import httpx
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from api.deposit_stream import DepositStream, Place
from infra.database import Database
from tests.integration.api.money_in import (
    add_deposit,
    advance,
    ask_for_address,
    credited,
    lose,
    place,
    set_head,
)
from tests.integration.api.sockets import QUICK, listening
from tests.support.bank import Bank, code_of
from tests.support.flows import until


@dataclass
class Reader:
    """What came over one stream so far."""

    lines: list[str] = field(default_factory=list)
    is_over: bool = False

    @property
    def events(self) -> list[dict[str, Any]]:
        prefix = "data: "
        return [json.loads(x.removeprefix(prefix)) for x in self.lines if x.startswith(prefix)]

    @property
    def ids(self) -> list[str]:
        return [x.removeprefix("id: ") for x in self.lines if x.startswith("id: ")]

    @property
    def told(self) -> list[tuple[str, int | None]]:
        return [(e["status"], e["confirmations"]) for e in self.events]


@dataclass
class Office:
    """A bank whose API listens on a socket."""

    bank: Bank
    address: str

    @property
    def open_streams(self) -> int:
        return self.bank.state.stream_slots.taken

    @asynccontextmanager
    async def reading(self, deposit_id: str, last: str | None = None) -> AsyncIterator[Reader]:
        """Yield what reads the stream in the background; it hangs up on leaving."""
        headers = self.bank.customer.headers | ({"Last-Event-ID": last} if last else {})
        reader = Reader()
        async with (
            httpx.AsyncClient(base_url=self.address, timeout=20) as client,
            client.stream("GET", f"/v1/deposits/{deposit_id}/events", headers=headers) as answer,
        ):
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            task = asyncio.create_task(_collect(answer, reader))
            try:
                yield reader
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


async def _collect(answer: httpx.Response, reader: Reader) -> None:
    async for line in answer.aiter_lines():
        reader.lines.append(line)
    reader.is_over = True


@asynccontextmanager
async def open_office(bank: Bank, **changes: Any) -> AsyncIterator[Office]:
    async with listening(bank, **(QUICK | changes)) as address:
        yield Office(bank, address)


class GatedDatabase(Database):
    """Stops in the midst of a unit of work until the gate is opened."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.entered, self.gate, self.closed = (asyncio.Event() for _ in range(3))

    @override
    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        async with super().snapshot() as session:
            self.entered.set()
            await self.gate.wait()
            yield session
        self.closed.set()


async def new_deposit(bank: Bank) -> str:
    address = (await ask_for_address(bank)).json()
    return await add_deposit(bank, address["id"])


class TestEvents:
    async def test_begin_with_the_present_and_end_when_it_is_final(self, bank: Bank) -> None:
        deposit_id = await new_deposit(bank)
        async with open_office(bank) as office, office.reading(deposit_id) as reader:
            await until(lambda: len(reader.events) == 1)
            await set_head(bank, 10)
            await place(bank, deposit_id, 10)
            await until(lambda: len(reader.events) == 2)
            await set_head(bank, 11)
            await until(lambda: len(reader.events) == 3)
            await set_head(bank, 12)
            await until(lambda: len(reader.events) == 4)
            await advance(bank, deposit_id)
            await until(lambda: reader.is_over)

        assert reader.told == [
            ("seen", 0),
            ("confirming", 1),
            ("confirming", 2),
            ("confirming", 3),
            ("credited", 3),
        ]
        assert [e["is_final"] for e in reader.events] == [False] * 4 + [True]
        assert len(set(reader.ids)) == 5

    async def test_of_what_is_final_already_are_one(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        async with open_office(bank) as office, office.reading(deposit_id) as reader:
            await until(lambda: reader.is_over)

        assert reader.told == [("credited", 3)]

    async def test_go_on_after_the_last_one_that_was_read(self, bank: Bank) -> None:
        deposit_id = await new_deposit(bank)
        await set_head(bank, 10)
        async with open_office(bank) as office:
            async with office.reading(deposit_id) as reader:
                await until(lambda: len(reader.events) == 1)
            await place(bank, deposit_id, 10)
            await set_head(bank, 12)
            await advance(bank, deposit_id)
            async with office.reading(deposit_id, reader.ids[-1]) as resumed:
                await until(lambda: resumed.is_over)
            async with office.reading(deposit_id, resumed.ids[-1]) as again:
                await until(lambda: again.is_over)

        # Nothing is lost: what happened in between is told, without confirmations.
        assert resumed.told == [("confirming", None), ("credited", 3)]
        assert [e["detail"] for e in resumed.events] == ["in block 10", None]
        assert again.told == [("credited", 3)]

    async def test_do_not_repeat_what_was_read(self, bank: Bank) -> None:
        deposit_id = await new_deposit(bank)
        await set_head(bank, 10)
        async with open_office(bank) as office:
            async with office.reading(deposit_id) as reader:
                await until(lambda: len(reader.events) == 1)
            async with office.reading(deposit_id, reader.ids[-1]) as resumed:
                await until(lambda: bool(resumed.lines))
                await place(bank, deposit_id, 10)
                await until(lambda: bool(resumed.events))

        assert resumed.told == [("confirming", 1)]

    async def test_follow_a_reversal_and_the_way_back(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        await lose(bank, deposit_id)
        await advance(bank, deposit_id)
        async with open_office(bank) as office, office.reading(deposit_id) as reader:
            await until(lambda: reader.is_over)

        assert reader.told == [("reversed", 0)]


class TestStream:
    async def test_ends_with_its_reader(self, bank: Bank) -> None:
        deposit_id = await new_deposit(bank)
        async with open_office(bank) as office:
            async with office.reading(deposit_id) as reader:
                await until(lambda: bool(reader.events))
                assert office.open_streams == 1
            await until(lambda: office.open_streams == 0)

    @pytest.mark.parametrize("bound", ["streams_max", "streams_per_user_max"])
    async def test_is_refused_beyond_the_bound_and_allowed_again(
        self, bank: Bank, bound: str
    ) -> None:
        deposit_id = await new_deposit(bank)
        path = f"/v1/deposits/{deposit_id}/events"
        async with open_office(bank, **{bound: 2}) as office:
            async with office.reading(deposit_id), office.reading(deposit_id):
                await until(lambda: office.open_streams == 2)
                async with httpx.AsyncClient(base_url=office.address) as client:
                    refused = await client.get(path, headers=bank.customer.headers)
            await until(lambda: office.open_streams == 0)
            async with office.reading(deposit_id) as reader:
                await until(lambda: bool(reader.events))

        assert (refused.status_code, code_of(refused)) == (503, "temporarily_unavailable")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert int(refused.headers["Retry-After"]) > 0

    async def test_ends_after_its_lifetime_for_its_reader_to_come_back(self, bank: Bank) -> None:
        deposit_id = await new_deposit(bank)
        brief = timedelta(milliseconds=50)
        async with (
            open_office(bank, stream_lifetime=brief) as office,
            office.reading(deposit_id) as reader,
        ):
            await until(lambda: reader.is_over)

        assert reader.lines[0].startswith("retry: ")
        assert [e["is_final"] for e in reader.events] == [False]

    async def test_holds_no_connection_of_the_database(self, bank: Bank) -> None:
        deposit_id = await new_deposit(bank)
        slow = timedelta(hours=1)
        async with (
            open_office(bank, stream_interval=slow) as office,
            office.reading(deposit_id) as reader,
            office.reading(deposit_id) as other,
        ):
            await until(lambda: bool(reader.events and other.events))
            held = bank.database.engine.pool.checkedout()  # type: ignore[attr-defined]

        assert held == 0

    async def test_finishes_its_unit_of_work_when_its_reader_goes(
        self, bank: Bank, database_url: str
    ) -> None:
        deposit_id = await new_deposit(bank)
        database = GatedDatabase(database_url)
        stream = DepositStream(database, bank.clock, bank.state.settings)
        events = stream.events(deposit_id, user_id=None, last=None)
        await anext(events)
        reading = asyncio.ensure_future(anext(events))
        await asyncio.wait_for(database.entered.wait(), 10)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        database.gate.set()
        await asyncio.wait_for(database.closed.wait(), 10)
        await database.close()

        assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]

    async def test_refuses_an_event_that_never_was(self, bank: Bank) -> None:
        deposit_id = await new_deposit(bank)
        answer = await bank.client.get(
            f"/v1/deposits/{deposit_id}/events",
            headers=bank.customer.headers | {"Last-Event-ID": "x"},
        )

        assert (answer.status_code, code_of(answer)) == (422, "validation_failed")

    async def test_beats_while_nothing_happens(self, bank: Bank) -> None:
        deposit_id = await new_deposit(bank)
        settings = bank.state.settings.model_copy(update=QUICK)
        beat = timedelta(milliseconds=1)
        stream = DepositStream(bank.database, bank.clock, settings, heartbeat=beat)
        events = stream.events(deposit_id, user_id=None, last=None)
        chunks = [await anext(events) for _ in range(4)]
        await events.aclose()

        assert [chunk.partition(":")[0] for chunk in chunks] == ["retry", "id", "", ""]

    async def test_waits_for_a_database_that_is_away(self, bank: Bank) -> None:
        gone = Database("postgresql://nobody@127.0.0.1:1/none")
        settings = bank.state.settings.model_copy(update=QUICK)
        beat = timedelta(milliseconds=1)
        stream = DepositStream(gone, bank.clock, settings, heartbeat=beat)
        events = stream.events("dep_1", user_id=None, last=Place(1, 1))
        chunks = [await anext(events) for _ in range(3)]
        await events.aclose()

        assert chunks[1:] == [": still here\n\n"] * 2
