"""Purchases over HTTP: rates, quotes, a card by Stripe with its webhooks, refunds; bad requests."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import stripe
from pydantic import SecretStr
from temporalio.testing import WorkflowEnvironment

import worker
from domain.ids import new_id
from infra.database import Database
from infra.settings import WorkerSettings
from models.identity import Role
from payouts.catalog import apply_catalog
from tests.support.bank import Bank, code_of, open_bank
from tests.support.flows import until
from tests.support.gateways import (
    API_KEY,
    WEBHOOK_SECRET,
    LocalStripe,
    local_market,
    local_stripe,
)
from tests.support.identity import Person
from tests.support.purchases import OFF_CHAIN, rate_table

QUOTE = {"pay_asset": "EUR", "buy_asset": "ITD", "side": "pay", "amount": "1000"}


@dataclass
class Till:
    """An installation that sells, with its owner."""

    bank: Bank
    stripe: LocalStripe
    owner: Person
    operator: Person

    async def quote(self, **changes: Any) -> dict[str, Any]:
        answer = await self.bank.send(
            "POST", "/v1/quotes", body=QUOTE | changes, headers={"TOTP-Code": ""}
        )
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def buy(self, quote_id: str, key: str | None = None) -> Any:
        return await self.bank.send(
            "POST",
            "/v1/purchases",
            body={"quote_id": quote_id},
            # No code: each one takes half a minute of the clock, and a quote lives for one.
            headers={"Idempotency-Key": key or new_id("key"), "TOTP-Code": ""},
        )

    async def get(self, purchase_id: str) -> dict[str, Any]:
        return dict((await self.bank.get(f"/v1/purchases/{purchase_id}")).json())

    async def payable(self) -> dict[str, Any]:
        """Return a purchase that a browser can pay."""
        bought = (await self.buy((await self.quote())["id"])).json()

        async def is_set_up() -> bool:
            return (await self.get(bought["id"]))["card"]["client_secret"] is not None

        await until(is_set_up)
        return await self.get(bought["id"])

    async def ends(self, purchase_id: str, status: str) -> None:
        async def has_ended() -> bool:
            return bool((await self.get(purchase_id))["status"] == status)

        await until(has_ended)

    async def itd(self) -> int:
        balances = (await self.bank.get("/v1/wallets")).json()["balances"]
        return sum(int(b["available"]) for b in balances if b["asset"] == "ITD")

    async def hook(self, event: dict[str, Any] | bytes, secret: str = WEBHOOK_SECRET) -> Any:
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        signature = stripe.WebhookSignature.generate_signature_header(
            payload.decode(), secret, timestamp=int(time.time())
        )
        return await self.post_hook(payload, signature)

    async def post_hook(self, payload: bytes, signature: str | None) -> Any:
        headers = {"Stripe-Signature": signature} if signature else {}
        return await self.bank.client.post("/v1/stripe/webhook", content=payload, headers=headers)

    async def deliver(self, *, times: int = 1, is_reversed: bool = False) -> None:
        """Deliver every event that Stripe has, as often and in the order that is asked for."""
        events = list(self.stripe.things["event"].values())
        for event in reversed(events) if is_reversed else events:
            for answer in await asyncio.gather(*(self.hook(event) for _ in range(times))):
                assert answer.status_code == 200, answer.text


@asynccontextmanager
async def running_gateways(bank: Bank, local: LocalStripe, market_url: str) -> AsyncIterator[None]:
    sources = [{"name": n, "url": f"{market_url}/{n}/{{base}}-{{quote}}"} for n in ("a", "b")]
    settings = WorkerSettings(
        database_url=SecretStr("unused"),
        temporal_address="unused",
        codec_keys=SecretStr("unused"),
        chain_rpc_urls=SecretStr("{}"),
        stripe_api_key=SecretStr(API_KEY),
        stripe_api_url=local.url,
        rate_sources=SecretStr(json.dumps(sources)),
        webhook_keys=bank.state.settings.webhook_keys,
    )
    process = worker.Process(bank.state.temporal, bank.database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "CLOCK", bank.clock)
        serving = worker.gateways_worker(process, settings)
    running = asyncio.create_task(serving.run())
    try:
        yield
    finally:
        await serving.shutdown()
        await running
        for close in process.closers:
            await close()


@pytest.fixture
async def till(temporal: WorkflowEnvironment, database: Database) -> AsyncIterator[Till]:
    async with (
        open_bank(temporal.client, database) as bank,
        local_stripe(clock=bank.clock) as local,
        local_market() as market,
        running_gateways(bank, local, market.url),
    ):
        settings = bank.state.settings.model_copy(
            update={
                "stripe_webhook_secret": SecretStr(WEBHOOK_SECRET),
                "stripe_publishable_key": "pk_test_local",
            }
        )
        object.__setattr__(bank.state, "settings", settings)
        async with database.transaction() as session:
            await apply_catalog(session, OFF_CHAIN)
        owner = await bank.person("owner", Role.OWNER)
        operator = await bank.person("operator", Role.OPERATOR)
        answer = await bank.send("PUT", "/v1/rates", person=owner, body=rate_table())
        assert answer.status_code == 200, answer.text
        yield Till(bank, local, owner, operator)
        assert await bank.broken_promise() is None


class TestRates:
    async def test_are_versions_that_an_owner_writes(self, till: Till) -> None:
        await till.bank.send("PUT", "/v1/rates", person=till.owner, body=rate_table(quote_s=30))
        shown = (await till.bank.get("/v1/rates")).json()
        versions = (await till.bank.get("/v1/rates/versions", till.owner)).json()["items"]

        assert (shown["version"], shown["document"]["quote_s"]) == (2, 30)
        assert shown["prices"][1]["rate"] == {"numerator": "11000", "denominator": "1"}
        assert [row["version"] for row in versions] == [2, 1]

    async def test_need_a_second_factor(self, till: Till) -> None:
        answer = await till.bank.send(
            "PUT", "/v1/rates", person=till.owner, body=rate_table(), headers={"TOTP-Code": ""}
        )
        assert code_of(answer) == "second_factor_required"

    async def test_name_what_there_is(self, till: Till) -> None:
        pairs = [{"pay_asset": "XYZ", "buy_asset": "ITD", "price": "1"}]
        answer = await till.bank.send(
            "PUT", "/v1/rates", person=till.owner, body=rate_table(pairs=pairs)
        )
        assert (answer.status_code, code_of(answer)) == (422, "invalid_rate_table")


class TestQuotes:
    async def test_are_the_callers_own(self, till: Till) -> None:
        quote = await till.quote()
        stranger = await till.bank.person("stranger")

        assert (quote["pay_amount"], quote["buy_amount"]) == ("1000", "11000000")
        assert (await till.bank.get(f"/v1/quotes/{quote['id']}")).json() == quote
        assert code_of(await till.bank.get(f"/v1/quotes/{quote['id']}", stranger)) == (
            "quote_not_found"
        )
        listed = (await till.bank.get("/v1/quotes")).json()["items"]
        assert [row["id"] for row in listed] == [quote["id"]]

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"amount": "0"}, "invalid_amount"),
            ({"amount": "-1"}, "validation_failed"),
            ({"amount": 1_000}, "validation_failed"),
            ({"amount": "1e3"}, "validation_failed"),
            ({"side": "sell"}, "validation_failed"),
            ({"pay_asset": "USD"}, "pair_not_listed"),
            ({"buy_asset": "ETH"}, "pair_not_listed"),
            ({"rate": "2"}, "validation_failed"),
            ({"amount": "9" * 78}, "invalid_amount"),
        ],
    )
    async def test_refuse_bad_input(self, till: Till, change: dict[str, Any], code: str) -> None:
        answer = await till.bank.send("POST", "/v1/quotes", body=QUOTE | change)
        assert (answer.status_code, code_of(answer)) == (422, code)


class TestPurchase:
    async def test_is_paid_by_a_browser_and_credited(
        self, till: Till, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        purchase = await till.payable()
        secret = purchase["card"]["client_secret"]
        assert (await till.stripe.pay(secret)).status_code == 200
        await till.deliver()
        await till.ends(purchase["id"], "completed")

        assert await till.itd() == 11_000_000
        shown = await till.get(purchase["id"])
        assert (shown["credited"], shown["paid"]) == ("11000000", "1000")
        assert shown["card"]["client_secret"] is None
        ours = [r.getMessage() for r in caplog.records if not r.name.startswith("httpcore")]
        assert not [line for line in ours if secret in line or API_KEY in line]

    async def test_is_answered_the_same_when_repeated(self, till: Till) -> None:
        quote = await till.quote()
        answers = await asyncio.gather(*(till.buy(quote["id"], "same") for _ in range(4)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1
        other = await till.buy((await till.quote())["id"], "same")
        assert code_of(other) == "idempotency_key_reused"

    async def test_takes_a_quote_once(self, till: Till) -> None:
        quote = await till.quote()
        assert (await till.buy(quote["id"])).status_code == 202
        second = await till.buy(quote["id"], "second")
        assert (second.status_code, code_of(second)) == (409, "quote_used")
        assert code_of(await till.buy(quote["id"], "second")) == "quote_used"

    async def test_says_where_to_pay_on_a_chain(self, till: Till) -> None:
        quote = await till.quote(pay_asset="ETH", amount=str(10**18))
        purchase = (await till.buy(quote["id"])).json()
        assert purchase["pay_at"]["address"].startswith("0x")
        assert purchase["card"] is None

    async def test_is_nobody_elses_business(self, till: Till) -> None:
        purchase = await till.payable()
        stranger = await till.bank.person("stranger")
        path = f"/v1/purchases/{purchase['id']}"
        assert code_of(await till.bank.get(path, stranger)) == "purchase_not_found"
        refused = await till.bank.send("POST", f"{path}/cancellation", person=stranger)
        assert code_of(refused) == "purchase_not_found"
        seen = (await till.bank.get(path, till.operator)).json()
        assert seen["card"]["client_secret"] is None

    async def test_can_be_given_up(self, till: Till) -> None:
        purchase = await till.payable()
        answer = await till.bank.send("POST", f"/v1/purchases/{purchase['id']}/cancellation")
        assert answer.json()["status"] == "cancelled"
        intents = till.stripe.things["payment_intent"].values()
        await until(lambda: all(i["status"] == "canceled" for i in intents))

    async def test_wants_a_key(self, till: Till) -> None:
        quote = await till.quote()
        answer = await till.bank.send("POST", "/v1/purchases", body={"quote_id": quote["id"]})
        assert code_of(answer) == "idempotency_key_missing"


class TestRefund:
    async def test_is_an_operators_and_happens_once(self, till: Till) -> None:
        purchase = await till.payable()
        await till.stripe.pay(purchase["card"]["client_secret"])
        await till.deliver()
        await till.ends(purchase["id"], "completed")
        path = f"/v1/purchases/{purchase['id']}/refunds"
        key = {"Idempotency-Key": "once"}
        for _ in range(2):
            answer = await till.bank.send(
                "POST", path, person=till.operator, body={"amount": "400"}, headers=key
            )
            assert answer.status_code == 200, answer.text
        await until(lambda: bool(till.stripe.things["refund"]))

        assert till.stripe.only("refund")["amount"] == 400
        assert await till.itd() == 6_600_000
        too_much = await till.bank.send(
            "POST",
            path,
            person=till.operator,
            body={"amount": "601"},
            headers={"Idempotency-Key": "more"},
        )
        assert code_of(too_much) == "purchase_state"


class TestWebhook:
    async def test_counts_once_doubled_and_in_any_order(self, till: Till) -> None:
        purchase = await till.payable()
        await till.stripe.pay(purchase["card"]["client_secret"])
        await till.deliver(times=4, is_reversed=True)
        await till.deliver(times=2)
        await till.ends(purchase["id"], "completed")
        assert await till.itd() == 11_000_000

    async def test_that_is_forged_changes_nothing(self, till: Till) -> None:
        purchase = await till.payable()
        intent = till.stripe.only("payment_intent")
        forged = {
            "id": "evt_forged",
            "object": "event",
            "type": "payment_intent.succeeded",
            "data": {"object": {**intent, "status": "succeeded", "amount_received": 1_000}},
        }
        wrong = await till.hook(forged, "whsec_guessed")
        assert (wrong.status_code, code_of(wrong)) == (400, "webhook_signature")
        assert code_of(await till.post_hook(b"{}", None)) == "webhook_signature"
        old = stripe.WebhookSignature.generate_signature_header(
            json.dumps(forged), WEBHOOK_SECRET, timestamp=int(time.time()) - 301
        )
        assert code_of(await till.post_hook(json.dumps(forged).encode(), old)) == (
            "webhook_signature"
        )
        # Signed, and a lie all the same: the gateway is asked, and says otherwise.
        assert (await till.hook(forged)).status_code == 200

        async def is_handled() -> bool:
            async with till.bank.database.transaction() as session:
                connection = await session.connection()
                found = await connection.exec_driver_sql(
                    "SELECT handled_at IS NOT NULL FROM gateway_event WHERE id = 'evt_forged'"
                )
                return bool(found.scalar())

        await until(is_handled)
        assert (await till.get(purchase["id"]))["status"] == "awaiting_payment"
        assert await till.itd() == 0

    @pytest.mark.parametrize(
        "payload",
        [
            b"[]",
            b'"x"',
            b"{}",
            b'{"object": "event", "id": "evt_1234", "type": "a.b", "data": {}}',
            b'{"object": "event", "id": "../../x", "type": "a.b", "data": {"object": {"id": "p"}}}',
        ],
    )
    async def test_that_is_about_nothing_is_taken_and_forgotten(
        self, till: Till, payload: bytes
    ) -> None:
        answer = await till.hook(payload)
        assert (answer.status_code, answer.json()) == (200, {"received": False})

    async def test_of_a_dispute_takes_back_and_of_its_end_gives_again(self, till: Till) -> None:
        purchase = await till.payable()
        await till.stripe.pay(purchase["card"]["client_secret"])
        await till.deliver()
        await till.ends(purchase["id"], "completed")
        await till.stripe.play("dispute", till.stripe.only("charge")["id"])
        await till.deliver()
        await till.ends(purchase["id"], "clawed_back")
        refused = await till.bank.pay()
        assert (await till.itd(), code_of(refused)) == (0, "wallet_frozen")

        await till.stripe.play("resolve", till.stripe.only("dispute")["id"], status="won")
        await till.deliver()
        await till.ends(purchase["id"], "completed")
        assert await till.itd() == 11_000_000
