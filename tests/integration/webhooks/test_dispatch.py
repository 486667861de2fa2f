"""From the outbox to deliveries: once each, whoever dies and whoever works beside."""

import asyncio

import pytest
from sqlalchemy.exc import DBAPIError

import webhooks.dispatch
from domain.events import Event
from domain.webhooks import PING
from events.outbox import publish
from tests.support.webhook_office import Office
from webhooks.endpoints import EndpointChange


async def told(office: Office) -> list[str]:
    """Return what all deliveries together are about, in their order."""
    async with office.books.owner.transaction() as session:
        connection = await session.connection()
        found = await connection.exec_driver_sql(
            "SELECT e.resource_id FROM webhook_delivery d JOIN outbox_event e ON e.id = d.event_id"
            " ORDER BY e.xid, e.seq, d.id"
        )
        return [str(row[0]) for row in found]


class TestDispatch:
    async def test_makes_a_delivery_for_each_endpoint_that_wants_the_event(
        self, office: Office
    ) -> None:
        every, _ = await office.add("*")
        payouts, _ = await office.add("payout.*", "deposit.credited")
        theirs, _ = await office.add("*", user_id="u2")
        await office.tell("payout")
        await office.tell("deposit", kind="deposit.seen")
        await office.tell("of the other", user_id="u2")
        by_endpoint: dict[str, int] = {}
        for delivery_id in await office.dispatched():
            delivery = await office.delivery(delivery_id)
            by_endpoint[delivery.endpoint_id] = by_endpoint.get(delivery.endpoint_id, 0) + 1

        assert by_endpoint == {every.id: 2, payouts.id: 1, theirs.id: 1}

    async def test_goes_past_what_nobody_wants(self, office: Office) -> None:
        await office.tell("before there was an endpoint")
        assert await office.dispatched() == []
        endpoint, _ = await office.add()
        await office.endpoints.change("u1", endpoint.id, EndpointChange(is_enabled=False))
        await office.tell("while it was disabled")
        assert await office.dispatched() == []
        await office.endpoints.change("u1", endpoint.id, EndpointChange(is_enabled=True))
        await office.tell("after")

        assert len(await office.dispatched()) == 1
        assert await told(office) == ["after"]
        await office.endpoints.remove("u1", endpoint.id)
        await office.tell("after it was removed")
        await office.dispatched()
        assert await told(office) == ["after"]

    async def test_takes_a_backlog_in_parts(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(webhooks.dispatch, "EVENTS_AT_ONCE", 3)
        names = [str(n) for n in range(10)]
        await office.add()
        await office.tell(*names)
        assert await office.desk.dispatch() == 3
        await office.dispatched()

        assert await told(office) == names

    async def test_does_both_or_neither_where_it_dies(self, office: Office) -> None:
        await office.add()
        await office.tell("a", "b")
        # The worst moment: deliveries are written, and the cursor has not moved.
        await office.books.execute(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'died'; END $$",
            "CREATE TRIGGER die BEFORE UPDATE ON webhook_cursor EXECUTE FUNCTION die()",
        )
        with pytest.raises(DBAPIError, match="died"):
            await office.desk.dispatch()
        await office.books.execute("DROP TRIGGER die ON webhook_cursor")
        assert await told(office) == []
        await office.dispatched()

        assert await told(office) == ["a", "b"]

    async def test_makes_no_delivery_twice_where_its_cursor_went_back(self, office: Office) -> None:
        await office.add()
        await office.tell("a", "b")
        await office.dispatched()
        await office.books.execute("UPDATE webhook_cursor SET xid = '0', seq = 0")
        await office.dispatched()

        assert await told(office) == ["a", "b"]

    async def test_misses_and_repeats_nothing_while_many_write_and_two_dispatch(
        self, office: Office
    ) -> None:
        await office.add()
        names = {f"{writer}/{n}" for writer in range(5) for n in range(10)}
        other = office.new_desk()
        is_over = asyncio.Event()

        async def write(writer: int) -> None:
            for n in range(10):
                async with office.books.worker.transaction() as session:
                    await publish(session, Event("u1", "payout.settled", f"{writer}/{n}"))
                    await asyncio.sleep(0.001 * writer)

        async def keep_on() -> None:
            while not is_over.is_set():
                await other.dispatch()
                await office.desk.dispatch()

        dispatching = [asyncio.create_task(keep_on()) for _ in range(2)]
        await asyncio.gather(*(write(writer) for writer in range(5)))
        is_over.set()
        await asyncio.gather(*dispatching)
        await office.dispatched()

        assert sorted(await told(office)) == sorted(names)

    async def test_leaves_pings_to_whoever_asks_for_them(self, office: Office) -> None:
        endpoint, _ = await office.add()
        await office.add()
        ping = await office.deliveries.ping("u1", endpoint.id)

        assert await office.dispatched() == [ping.id]
        assert (await office.delivery(ping.id)).kind == PING


class TestStart:
    async def test_is_asked_for_until_it_is_noted(self, office: Office) -> None:
        """Whoever dies between dispatch and the start leaves it to the next."""
        delivery_id = await office.one()
        assert list(await office.new_desk().unstarted(limit=10)) == [delivery_id]
        await office.desk.note_started([delivery_id])
        assert list(await office.new_desk().unstarted(limit=10)) == []
