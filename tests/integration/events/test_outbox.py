"""The outbox: told when committed, read in an order that nothing is added behind."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, ProgrammingError

from domain.events import Event
from events.outbox import START, Place, events_after, place_of, publish, settled
from infra.database import Database
from models.events import OutboxEvent
from tests.support.books import Books, as_role


def event(name: str, user_id: str = "u1") -> Event:
    return Event(user_id, "payout.settled", name, {"amount": "1"})


async def read(database: Database, place: Place = START, **chosen: Any) -> Sequence[OutboxEvent]:
    async with database.transaction() as session:
        return await events_after(session, place, limit=100, **chosen)


def names(events: Sequence[OutboxEvent]) -> list[str]:
    return [event.resource_id for event in events]


class TestPublish:
    async def test_tells_what_was_committed_and_nothing_else(self, books: Books) -> None:
        async with books.worker.transaction() as session:
            await publish(session, event("a"), event("b"))
        await self._publish_and_fail(books)

        told = await read(books.worker)

        assert names(told) == ["a", "b"]
        assert [e.data for e in told] == [{"amount": "1"}] * 2
        assert [e.id[:4] for e in told] == ["evt_"] * 2

    @staticmethod
    async def _publish_and_fail(books: Books) -> None:
        with suppress(RuntimeError):
            async with books.worker.transaction() as session:
                await publish(session, event("lost"))
                raise RuntimeError

    async def test_is_open_to_the_api_and_the_worker_alone(
        self, books: Books, database_url: str
    ) -> None:
        api = Database(as_role(database_url, "api"), pool_size=1)
        async with api.transaction() as session:
            await publish(session, event("of the API"))
        await api.close()

        with pytest.raises(ProgrammingError, match="permission denied"):
            async with books.signer_database.transaction() as session:
                await publish(session, event("of the signer"))
        assert names(await read(books.worker)) == ["of the API"]

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE outbox_event SET kind = 'x'",
            "DELETE FROM outbox_event",
            "TRUNCATE outbox_event CASCADE",
        ],
    )
    async def test_writes_what_nobody_changes(self, books: Books, statement: str) -> None:
        async with books.worker.transaction() as session:
            await publish(session, event("a"))

        with pytest.raises(DBAPIError, match="append-only"):
            await books.execute(statement)

    async def test_lets_nobody_choose_a_place_in_the_order(
        self, books: Books, database_url: str
    ) -> None:
        del books
        api = Database(as_role(database_url, "api"), pool_size=1)
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with api.transaction() as session:
                await (await session.connection()).exec_driver_sql(
                    "INSERT INTO outbox_event (id, xid, user_id, kind, resource_id, data, at)"
                    " VALUES ('evt_x', '1', 'u1', 'payout.settled', 'r', '{}', now())"
                )
        await api.close()


class TestEventsAfter:
    async def test_misses_nothing_that_is_committed_late(self, books: Books) -> None:
        """The first is numbered before the second, and committed after it was read."""
        async with books.worker.transaction() as early:
            await publish(early, event("early"))
            async with books.worker.transaction() as late:
                await publish(late, event("late"))

            before = await read(books.worker)
            place = place_of(before[-1]) if before else START
        after = await read(books.worker, place)

        # A reader by the highest number would have gone past "early" for good.
        assert names(before) == []
        assert names(after) == ["early", "late"]

    async def test_keeps_its_order_where_numbers_and_transactions_disagree(
        self, books: Books
    ) -> None:
        async with books.worker.transaction() as first, books.worker.transaction() as second:
            await publish(first, event("first, 1"))
            await publish(second, event("second, 2"))
            await publish(first, event("first, 3"))
        everything = await read(books.worker)

        assert names(everything) == ["first, 1", "first, 3", "second, 2"]
        for position, read_last in enumerate(everything, start=1):
            rest = await read(books.worker, place_of(read_last))
            assert names(rest) == names(everything)[position:]

    async def test_of_a_user_are_theirs_alone(self, books: Books) -> None:
        async with books.worker.transaction() as session:
            await publish(session, event("a"), event("b", "u2"), event("c"))

        assert names(await read(books.worker, user_ids=["u1"])) == ["a", "c"]
        assert names(await read(books.worker, user_ids=["u2"])) == ["b"]

    async def test_reach_a_reader_once_each_while_many_write(self, books: Books) -> None:
        written = {f"{writer}/{n}" for writer in range(8) for n in range(15)}

        async def write(writer: int) -> None:
            for n in range(15):
                async with books.worker.transaction() as session:
                    await publish(session, event(f"{writer}/{n}"))
                    await asyncio.sleep(0.002 * (writer % 3))

        writing = asyncio.gather(*(write(writer) for writer in range(8)))
        seen: list[str] = []
        place = START
        while len(seen) < len(written):
            batch = await read(books.worker, place)
            seen += names(batch)
            place = place_of(batch[-1]) if batch else place
            if not batch and writing.done():
                break
        await writing
        seen += names(await read(books.worker, place))

        assert sorted(seen) == sorted(written)


class TestSettled:
    async def test_comes_before_everything_that_is_written_from_now_on(self, books: Books) -> None:
        async with books.worker.transaction() as session:
            await publish(session, event("old"))
        async with books.worker.transaction() as running:
            await publish(running, event("running"))
            async with books.worker.transaction() as session:
                place = await settled(session)
        async with books.worker.transaction() as session:
            await publish(session, event("new"))

        assert names(await read(books.worker, place)) == ["running", "new"]

    async def test_is_a_place_to_read_up_to(self, books: Books) -> None:
        async with books.worker.transaction() as session:
            await publish(session, event("before"))
        async with books.worker.transaction() as session:
            place = await settled(session)
        async with books.worker.transaction() as session:
            await publish(session, event("after"))

        assert names(await read(books.worker, until=place)) == ["before"]
        assert names(await read(books.worker, place)) == ["after"]
