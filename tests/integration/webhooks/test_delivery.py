"""Attempts at deliveries, against a real receiver that checks signatures by the library."""

import asyncio
import json
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from domain.errors import (
    InvalidWebhookUrlError,
    UnknownEventTypeError,
    WebhookDeliveriesWaitingError,
    WebhookDeliveryNotFoundError,
    WebhookEndpointBusyError,
    WebhookEndpointDisabledError,
    WebhookEndpointLimitError,
    WebhookEndpointNotFoundError,
)
from domain.ids import new_id
from domain.webhooks import ATTEMPTS_MAX, DISABLE_AFTER, DeliveryStatus, DisabledReason
from events.outbox import START, events_after
from tests.support.flows import until
from tests.support.receiver import Received, never, status
from tests.support.webhook_office import Office
from webhooks.deliveries import MANUAL_MAX
from webhooks.desk import AT_ONCE_MAX
from webhooks.endpoints import EndpointChange

DAY = timedelta(days=1)


class TestSignature:
    async def test_is_what_the_library_verifies(self, office: Office) -> None:
        _, secret = await office.add()
        await office.tell("r")
        (delivery_id,) = await office.dispatched()
        standing = await office.attempt(delivery_id)

        (request,) = office.receiver.received
        assert standing.status == DeliveryStatus.DELIVERED
        assert request.is_genuine(secret)
        assert request.event["resource_id"] == "r"
        assert request.event["type"] == "payout.settled"
        assert request.headers["webhook-id"] == request.event["id"]
        assert request.headers["content-type"] == "application/json"

    async def test_does_not_fit_anything_else(self, office: Office) -> None:
        _, secret = await office.add()
        _, other = await office.add()
        await office.tell("r")
        first = (await office.dispatched())[0]
        await office.attempt(first)
        (request,) = office.receiver.received
        genuine = [s for s in (secret, other) if request.is_genuine(s)]
        assert len(genuine) == 1

        later = str(int(request.headers["webhook-timestamp"]) + 1)
        forged = [
            Received("", request.headers, request.body.replace(b'"r"', b'"x"')),
            Received("", request.headers | {"webhook-id": "evt_other"}, request.body),
            Received("", request.headers | {"webhook-timestamp": later}, request.body),
            Received("", request.headers | {"webhook-signature": "v1,AAAA"}, request.body),
            Received("", {}, request.body),
        ]
        assert [f for f in forged if f.is_genuine(genuine[0])] == []

    async def test_is_by_both_secrets_while_they_overlap(self, office: Office) -> None:
        endpoint, old = await office.add()
        rotated = await office.endpoints.rotate("u1", endpoint.id, overlap=DAY)
        new = rotated.secret
        assert new != old

        async def sent() -> Received:
            ping = await office.deliveries.ping("u1", endpoint.id)
            await office.attempt(ping.id)
            return office.receiver.received[-1]

        request = await sent()
        assert (request.is_genuine(old), request.is_genuine(new)) == (True, True)
        await office.books.execute(
            "UPDATE webhook_endpoint SET previous_secret_until = now() - interval '1 second'"
        )
        request = await sent()
        assert (request.is_genuine(old), request.is_genuine(new)) == (False, True)

    async def test_comes_from_a_secret_that_the_database_does_not_show(
        self, office: Office
    ) -> None:
        endpoint, secret = await office.add()
        stored = await office.endpoint(endpoint.id)

        assert secret.startswith("whsec_")
        assert secret.encode() not in stored.sealed_secret
        assert secret not in json.dumps(stored.model_dump(mode="json", exclude={"sealed_secret"}))


class TestAttempt:
    async def test_that_fails_is_followed_by_another(self, office: Office) -> None:
        delivery_id = await office.one()
        office.receiver.replies = [status(500, "broken"), status(503, "busy"), status(200, "ok")]
        first, second, third = [await office.attempt(delivery_id) for _ in range(3)]

        assert (first.status, first.retry_after_s) == (DeliveryStatus.PENDING, 10)
        assert (second.status, second.retry_after_s) == (DeliveryStatus.PENDING, 30)
        assert (third.status, third.retry_after_s) == (DeliveryStatus.DELIVERED, None)
        log = await office.attempts(delivery_id)
        assert [(a.number, a.status_code, a.answer) for a in log] == [
            (1, 500, "broken"),
            (2, 503, "busy"),
            (3, 200, "ok"),
        ]
        ids = {request.headers["webhook-id"] for request in office.receiver.received}
        assert len(ids) == 1

    async def test_after_the_end_sends_nothing(self, office: Office) -> None:
        delivery_id = await office.one()
        first, again = [await office.attempt(delivery_id) for _ in range(2)]

        assert first == again
        assert len(office.receiver.received) == 1

    async def test_is_the_last_after_so_many(self, office: Office) -> None:
        delivery_id = await office.one()
        office.receiver.replies = [status(500)] * ATTEMPTS_MAX
        standings = [await office.attempt(delivery_id) for _ in range(ATTEMPTS_MAX)]

        assert {s.status for s in standings[:-1]} == {DeliveryStatus.PENDING}
        assert standings[-1].status == DeliveryStatus.FAILED
        assert (await office.delivery(delivery_id)).ended_at is not None

    async def test_whose_note_is_lost_is_sent_again_with_the_same_id(self, office: Office) -> None:
        delivery_id = await office.one()
        await office.books.execute(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'died'; END $$",
            "CREATE TRIGGER die BEFORE INSERT ON webhook_attempt EXECUTE FUNCTION die()",
        )
        with pytest.raises(DBAPIError, match="died"):
            await office.attempt(delivery_id)
        await office.books.execute("DROP TRIGGER die ON webhook_attempt")
        standing = await office.attempt(delivery_id)

        assert (standing.status, standing.attempts) == (DeliveryStatus.DELIVERED, 1)
        first, again = office.receiver.received
        assert first.body == again.body
        assert first.headers["webhook-id"] == again.headers["webhook-id"]

    async def test_of_a_twin_that_was_slower_changes_no_good_end(self, office: Office) -> None:
        delivery_id = await office.one()
        gate = asyncio.Event()

        async def slow(request: object) -> object:
            await gate.wait()
            return await status(500)(request)  # type: ignore[arg-type]

        office.receiver.replies = [slow]  # type: ignore[list-item]
        twin = asyncio.create_task(office.new_desk().attempt(delivery_id))
        await until(lambda: len(office.receiver.received) == 1)
        await office.attempt(delivery_id)
        gate.set()
        standing = await twin

        assert standing.status == DeliveryStatus.DELIVERED
        assert standing.retry_after_s is None
        assert [a.status_code for a in await office.attempts(delivery_id)] == [204, 500]

    async def test_to_a_slow_endpoint_leaves_room_for_others(self, office: Office) -> None:
        await office.add()
        await office.tell(*(str(n) for n in range(AT_ONCE_MAX + 1)))
        *slow, late = await office.dispatched()
        office.receiver.replies = [never] * AT_ONCE_MAX
        waiting = [asyncio.create_task(office.attempt(d)) for d in slow]
        await until(lambda: len(office.receiver.received) == AT_ONCE_MAX)
        with pytest.raises(WebhookEndpointBusyError):
            await office.attempt(late)
        await office.add(user_id="u2")
        await office.tell("other", user_id="u2")
        (other,) = set(await office.dispatched()) - {*slow, late}
        assert (await office.attempt(other)).status == DeliveryStatus.DELIVERED
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

        assert (await office.attempt(late)).status == DeliveryStatus.DELIVERED


class TestEndpoint:
    async def test_that_is_disabled_or_removed_gets_nothing_more(self, office: Office) -> None:
        endpoint, _ = await office.add()
        await office.tell("a", "b")
        first, second = await office.dispatched()
        await office.endpoints.change("u1", endpoint.id, EndpointChange(is_enabled=False))
        assert (await office.attempt(first)).status == DeliveryStatus.CANCELLED
        await office.endpoints.change("u1", endpoint.id, EndpointChange(is_enabled=True))
        await office.endpoints.remove("u1", endpoint.id)
        assert (await office.attempt(second)).status == DeliveryStatus.CANCELLED

        assert office.receiver.received == []

    async def test_that_fails_for_days_is_disabled_and_its_user_told(self, office: Office) -> None:
        endpoint, _ = await office.add()
        other, _ = await office.add("webhook_endpoint.*")
        await office.tell("a", "b", "c")
        first, second, third = await office.dispatched()
        office.receiver.replies = [status(500)] * 2
        await office.attempt(first)
        office.books.clock.advance(DISABLE_AFTER - timedelta(seconds=1))
        await office.attempt(first)
        assert (await office.endpoint(endpoint.id)).disabled_at is None
        # Taken once, and the days begin anew.
        await office.attempt(second)
        assert (await office.endpoint(endpoint.id)).failing_since is None
        office.receiver.replies = [status(500)] * 2
        await office.attempt(third)
        office.books.clock.advance(DISABLE_AFTER)
        await office.attempt(third)

        disabled = await office.endpoint(endpoint.id)
        assert disabled.disabled_reason == DisabledReason.FAILING
        async with office.books.owner.transaction() as session:
            last = (await events_after(session, START, limit=100))[-1]
        assert (last.kind, last.resource_id) == ("webhook_endpoint.disabled", endpoint.id)
        assert office.receiver.url not in json.dumps(last.data)
        (told,) = set(await office.dispatched()) - {first, second, third}
        assert (await office.delivery(told)).endpoint_id == other.id

    async def test_that_is_gone_is_disabled_at_once(self, office: Office) -> None:
        endpoint, _ = await office.add()
        await office.tell("a")
        (delivery_id,) = await office.dispatched()
        office.receiver.replies = [status(410)]
        await office.attempt(delivery_id)

        assert (await office.endpoint(endpoint.id)).disabled_reason == DisabledReason.GONE
        assert (await office.attempt(delivery_id)).status == DeliveryStatus.CANCELLED

    async def test_that_is_enabled_again_is_given_days_anew(self, office: Office) -> None:
        endpoint, _ = await office.add()
        await office.tell("a")
        (delivery_id,) = await office.dispatched()
        office.receiver.replies = [status(500)]
        await office.attempt(delivery_id)
        office.books.clock.advance(DISABLE_AFTER)
        changed = await office.endpoints.change("u1", endpoint.id, EndpointChange(is_enabled=True))

        assert changed.failing_since is None
        assert (await office.attempt(delivery_id)).status == DeliveryStatus.DELIVERED

    async def test_is_one_of_so_many_also_where_many_are_added_at_once(
        self, office: Office
    ) -> None:
        answers = await asyncio.gather(*(office.add() for _ in range(8)), return_exceptions=True)

        refused = [a for a in answers if isinstance(a, WebhookEndpointLimitError)]
        assert len(refused) == 5

    async def test_is_not_added_where_it_could_get_nothing(self, office: Office) -> None:
        with pytest.raises(UnknownEventTypeError):
            await office.add("payout.vanished")
        for url in ("http://shop.example/", "https://10.0.0.1/"):
            with pytest.raises(InvalidWebhookUrlError):
                await office.endpoints.add("u1", url=url, kinds=["*"], description=None)

    async def test_of_somebody_else_is_not_there(self, office: Office) -> None:
        endpoint, _ = await office.add()
        refused = [
            office.endpoints.one("u2", endpoint.id),
            office.endpoints.change("u2", endpoint.id, EndpointChange(is_enabled=False)),
            office.endpoints.rotate("u2", endpoint.id, overlap=DAY),
            office.endpoints.remove("u2", endpoint.id),
            office.deliveries.ping("u2", endpoint.id),
            office.endpoints.one("u1", new_id("whe")),
        ]
        for asked in refused:
            with pytest.raises(WebhookEndpointNotFoundError):
                await asked
        assert (await office.endpoint(endpoint.id)).disabled_at is None


class TestByHand:
    async def test_a_delivery_is_sent_once_more_with_the_same_id(self, office: Office) -> None:
        endpoint, secret = await office.add()
        await office.tell("r")
        (first,) = await office.dispatched()
        await office.attempt(first)
        again = await office.deliveries.redeliver("u1", endpoint.id, first)
        third = await office.deliveries.redeliver("u1", endpoint.id, again.id)
        for delivery_id in (again.id, third.id):
            await office.attempt(delivery_id)

        assert again.redelivery_of == first
        ids = {request.headers["webhook-id"] for request in office.receiver.received}
        assert len(office.receiver.received) == 3
        assert len(ids) == 1
        assert all(request.is_genuine(secret) for request in office.receiver.received)

    async def test_no_more_wait_than_so_many(self, office: Office) -> None:
        endpoint, _ = await office.add()
        pings = [await office.deliveries.ping("u1", endpoint.id) for _ in range(MANUAL_MAX)]
        with pytest.raises(WebhookDeliveriesWaitingError):
            await office.deliveries.ping("u1", endpoint.id)
        await office.attempt(pings[0].id)
        await office.deliveries.redeliver("u1", endpoint.id, pings[0].id)

    async def test_nothing_goes_to_an_endpoint_that_is_disabled(self, office: Office) -> None:
        endpoint, _ = await office.add()
        await office.tell("r")
        (delivery_id,) = await office.dispatched()
        await office.endpoints.change("u1", endpoint.id, EndpointChange(is_enabled=False))
        with pytest.raises(WebhookEndpointDisabledError):
            await office.deliveries.ping("u1", endpoint.id)
        with pytest.raises(WebhookEndpointDisabledError):
            await office.deliveries.redeliver("u1", endpoint.id, delivery_id)

    async def test_nothing_of_another_endpoint_is_sent(self, office: Office) -> None:
        endpoint, _ = await office.add()
        other, _ = await office.add()
        ping = await office.deliveries.ping("u1", other.id)
        with pytest.raises(WebhookDeliveryNotFoundError):
            await office.deliveries.redeliver("u1", endpoint.id, ping.id)
        with pytest.raises(WebhookDeliveryNotFoundError):
            await office.deliveries.detail("u1", endpoint.id, ping.id)
