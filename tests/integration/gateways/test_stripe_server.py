"""Our development server behaves as Stripe documents, asked by Stripe's own library."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import stripe
from aiohttp import web

from tests.support.gateways import API_KEY, WEBHOOK_SECRET, LocalStripe, local_stripe, served


@pytest.fixture
async def server() -> AsyncIterator[LocalStripe]:
    async with local_stripe() as opened:
        yield opened


@pytest.fixture
async def client(server: LocalStripe) -> AsyncIterator[stripe.StripeClient]:
    http = stripe.HTTPXClient(timeout=5)
    yield stripe.StripeClient(
        API_KEY, base_addresses={"api": server.url}, max_network_retries=0, http_client=http
    )
    await http.close_async()  # type: ignore[no-untyped-call]


async def paid(client: stripe.StripeClient, card: str = "pm_card_visa", amount: int = 2_500) -> Any:
    return await client.v1.payment_intents.create_async(
        {"amount": amount, "currency": "usd", "payment_method": card, "confirm": True}
    )


class TestPaymentIntents:
    async def test_are_paid_with_a_good_card(self, client: stripe.StripeClient) -> None:
        intent = await paid(client)
        found = await client.v1.payment_intents.retrieve_async(
            intent.id, {"expand": ["latest_charge"]}
        )

        assert (found.status, found.amount_received) == ("succeeded", 2_500)
        assert isinstance(found.latest_charge, stripe.Charge)

    async def test_are_open_again_after_a_bad_card(self, client: stripe.StripeClient) -> None:
        intent = await client.v1.payment_intents.create_async({"amount": 500, "currency": "usd"})
        with pytest.raises(stripe.CardError) as declined:
            await client.v1.payment_intents.confirm_async(
                intent.id, {"payment_method": "pm_card_chargeDeclined"}
            )
        found = await client.v1.payment_intents.retrieve_async(intent.id)

        assert declined.value.code == "card_declined"
        assert (found.status, found.amount_received) == ("requires_payment_method", 0)

    async def test_wait_for_the_holder_where_the_card_asks_for_it(
        self, server: LocalStripe, client: stripe.StripeClient
    ) -> None:
        intent = await paid(client, "pm_card_authenticationRequired")
        assert intent.status == "requires_action"
        await server.play("decide", intent.id)
        found = await client.v1.payment_intents.retrieve_async(intent.id)

        assert found.status == "succeeded"

    async def test_are_not_cancelled_once_paid(self, client: stripe.StripeClient) -> None:
        intent = await paid(client)
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await client.v1.payment_intents.cancel_async(intent.id)

        assert refused.value.code == "payment_intent_unexpected_state"

    @pytest.mark.parametrize(
        "change", [{"amount": 49}, {"amount": -1}, {"currency": "xxx"}, {"surprise": "1"}]
    )
    async def test_refuse_what_stripe_refuses(
        self, client: stripe.StripeClient, change: dict[str, Any]
    ) -> None:
        with pytest.raises(stripe.InvalidRequestError):
            await client.v1.payment_intents.create_async(
                {"amount": 500, "currency": "usd", **change}  # type: ignore[typeddict-item]
            )

    async def test_are_paid_by_a_browser_that_has_the_secret_and_by_no_other(
        self, server: LocalStripe, client: stripe.StripeClient
    ) -> None:
        intent = await client.v1.payment_intents.create_async({"amount": 500, "currency": "usd"})
        stranger = await server.pay(f"{intent.id}_secret_guessed")
        holder = await server.pay(str(intent.client_secret))

        assert (stranger.status_code, holder.status_code) == (401, 200)

    async def test_ask_for_the_right_key(self, server: LocalStripe) -> None:
        wrong = stripe.StripeClient(
            "sk_test_wrong",
            base_addresses={"api": server.url},
            http_client=stripe.HTTPXClient(timeout=5),
        )
        with pytest.raises(stripe.AuthenticationError):
            await wrong.v1.balance.retrieve_async()


class TestIdempotency:
    async def test_answers_the_same_key_with_the_same_object(
        self, server: LocalStripe, client: stripe.StripeClient
    ) -> None:
        made = [
            await client.v1.payment_intents.create_async(
                {"amount": 500, "currency": "usd"}, {"idempotency_key": "once"}
            )
            for _ in range(3)
        ]

        assert len({intent.id for intent in made}) == len(server.things["payment_intent"]) == 1

    async def test_refuses_the_same_key_for_something_else(
        self, client: stripe.StripeClient
    ) -> None:
        await client.v1.payment_intents.create_async(
            {"amount": 500, "currency": "usd"}, {"idempotency_key": "once"}
        )
        with pytest.raises(stripe.IdempotencyError) as refused:
            await client.v1.payment_intents.create_async(
                {"amount": 501, "currency": "usd"}, {"idempotency_key": "once"}
            )
        assert refused.value.http_status == 400

    async def test_refuses_a_second_request_while_the_first_runs(
        self, server: LocalStripe, client: stripe.StripeClient
    ) -> None:
        await server.play("fault", kind="slow", path="/v1/payment_intents")

        async def create() -> Any:
            return await client.v1.payment_intents.create_async(
                {"amount": 500, "currency": "usd"}, {"idempotency_key": "once"}
            )

        both = await asyncio.gather(create(), create(), return_exceptions=True)
        refused = [each for each in both if isinstance(each, stripe.StripeError)]

        assert [error.http_status for error in refused] == [409]
        assert len(server.things["payment_intent"]) == 1

    async def test_repeats_a_declined_card_but_not_a_malformed_request(
        self, client: stripe.StripeClient
    ) -> None:
        for _ in range(2):
            with pytest.raises(stripe.CardError):
                await client.v1.payment_intents.create_async(
                    {
                        "amount": 500,
                        "currency": "usd",
                        "confirm": True,
                        "payment_method": "pm_card_chargeDeclined",
                    },
                    {"idempotency_key": "declined"},
                )
        with pytest.raises(stripe.InvalidRequestError):
            await client.v1.payment_intents.create_async(
                {"amount": 1, "currency": "usd"}, {"idempotency_key": "mended"}
            )
        mended = await client.v1.payment_intents.create_async(
            {"amount": 500, "currency": "usd"}, {"idempotency_key": "mended"}
        )
        assert mended.amount == 500

    async def test_tells_after_a_lost_answer_what_was_done(
        self, server: LocalStripe, client: stripe.StripeClient
    ) -> None:
        await server.play("fault", kind="lost", path="/v1/payment_intents")
        with pytest.raises(stripe.APIConnectionError):
            await client.v1.payment_intents.create_async(
                {"amount": 500, "currency": "usd"}, {"idempotency_key": "once"}
            )
        found = await client.v1.payment_intents.create_async(
            {"amount": 500, "currency": "usd"}, {"idempotency_key": "once"}
        )
        assert list(server.things["payment_intent"]) == [found.id]


class TestRefunds:
    async def test_never_give_back_more_than_was_paid(self, client: stripe.StripeClient) -> None:
        intent = await paid(client)
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 2_000})
        with pytest.raises(stripe.InvalidRequestError):
            await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 501})
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 500})
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 1})

        assert refused.value.code == "charge_already_refunded"

    async def test_may_fail_later(self, client: stripe.StripeClient) -> None:
        intent = await paid(client, "pm_card_refundFail")
        await client.v1.refunds.create_async({"payment_intent": intent.id})
        page = await client.v1.refunds.list_async({"payment_intent": intent.id})

        assert [refund.status for refund in page.data] == ["failed"]

    async def test_are_refused_for_what_is_disputed(self, client: stripe.StripeClient) -> None:
        intent = await paid(client, "pm_card_createDispute")
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await client.v1.refunds.create_async({"payment_intent": intent.id})

        assert refused.value.code == "charge_disputed"


class TestDisputes:
    async def test_withdraw_the_money_and_bring_it_back_when_won(
        self, server: LocalStripe, client: stripe.StripeClient
    ) -> None:
        intent = await paid(client, "pm_card_createDispute")
        page = await client.v1.disputes.list_async({"payment_intent": intent.id})
        before = await client.v1.balance.retrieve_async()
        await server.play("resolve", page.data[0].id, status="won")
        after = await client.v1.balance.retrieve_async()

        assert [each.available[0].amount for each in (before, after)] == [0, 2_500]


class Receiver:
    """A webhook's other end, which may be out of order."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.events: list[stripe.Event] = []
        self.arrived = asyncio.Condition()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/", self._take)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        event = stripe.Webhook.construct_event(
            await request.read(), request.headers["Stripe-Signature"], WEBHOOK_SECRET
        )
        async with self.arrived:
            self.events.append(event)
            self.arrived.notify_all()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def kinds(self, count: int) -> list[str]:
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.events) >= count)
        return [event.type for event in self.events]


@pytest.fixture
async def receiver(server: LocalStripe) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with served(receiver.app()) as url:
        await server.play("webhook", url=url)
        yield receiver
        await server.play("webhook", url="")


class TestEvents:
    async def test_are_listed_by_kind_and_time_newest_first(
        self, server: LocalStripe, client: stripe.StripeClient
    ) -> None:
        intent = await paid(client)
        since = max(event["created"] for event in server.things["event"].values())
        server.server.store.add("event", type="payment_intent.canceled", data={})["created"] -= 100
        kinds = ["payment_intent.succeeded", "payment_intent.canceled"]
        everything = await client.v1.events.list_async({"types": kinds})
        recent = await client.v1.events.list_async({"types": kinds, "created": {"gte": since}})

        assert [event.type for event in everything.data] == kinds[::-1]
        assert [event.data.object["id"] for event in recent.data] == [intent.id]

    async def test_are_not_listed_for_more_kinds_than_stripe_takes(
        self, client: stripe.StripeClient
    ) -> None:
        with pytest.raises(stripe.InvalidRequestError):
            await client.v1.events.list_async({"types": [f"a.b{n}" for n in range(21)]})


class TestWebhooks:
    async def test_are_signed_and_sent_again_until_they_are_taken(
        self, client: stripe.StripeClient, receiver: Receiver
    ) -> None:
        receiver.statuses = [500, 500]
        await client.v1.payment_intents.create_async({"amount": 500, "currency": "usd"})

        assert await receiver.kinds(3) == ["payment_intent.created"] * 3
        assert len({event.id for event in receiver.events}) == 1

    async def test_may_come_the_other_way_round(
        self, server: LocalStripe, client: stripe.StripeClient, receiver: Receiver
    ) -> None:
        await server.play("hold")
        await paid(client)
        await server.play("release")

        assert await receiver.kinds(3) == [
            "payment_intent.succeeded",
            "charge.succeeded",
            "payment_intent.created",
        ]

    async def test_may_come_twice_or_never(
        self, server: LocalStripe, client: stripe.StripeClient, receiver: Receiver
    ) -> None:
        await server.play("lose", times="1")
        await client.v1.payment_intents.create_async({"amount": 501, "currency": "usd"})
        await server.play("double", times="1")
        await client.v1.payment_intents.create_async({"amount": 502, "currency": "usd"})

        await receiver.kinds(2)
        assert [event.data.object.amount for event in receiver.events] == [502, 502]


class TestFile:
    async def test_lets_a_killed_server_go_on(self, tmp_path: Path) -> None:
        path = tmp_path / "stripe.json"
        for _ in range(2):
            async with local_stripe(path) as server:
                http = stripe.HTTPXClient(timeout=5)
                client = stripe.StripeClient(
                    API_KEY, base_addresses={"api": server.url}, http_client=http
                )
                await client.v1.payment_intents.create_async(
                    {"amount": 500, "currency": "usd"}, {"idempotency_key": "once"}
                )
                await http.close_async()  # type: ignore[no-untyped-call]
                assert len(server.things["payment_intent"]) == 1
