"""
Clawbacks under any order of Stripe's events: late, twice, reversed, forged or never.

What happens at Stripe is random, and so is which of its events arrive when. Between, what is issued
is held; at the end, when the review has found what never came, each purchase has what its quote
gives for what Stripe still has of it.
"""

import asyncio
import json
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, ClassVar, override

import stripe
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.errors import InsufficientAvailableBalanceError, PurchaseStateError
from domain.ids import new_id
from domain.purchases import PurchaseTask, RefundStatus
from gateways.stripe.review import PostgresCardReview
from gateways.stripe.webhooks import keep, verified
from ledger import chart, rules
from models.purchases import Purchase
from tests.integration.purchases.test_card_purchases import assert_equal_to_stripe
from tests.integration.purchases.test_card_review import GRACE
from tests.support.gateways import WEBHOOK_SECRET
from tests.support.postgres import PostgresServer, fresh_database
from tests.support.purchases import Shop, opened_shop

CARDS = ("visa", "delayed", "createDispute", "pendingRefund", "refundFail", "chargeDeclined")
WITHDRAWN = ("needs_response", "under_review", "lost")


class CardEventMachine(RuleBasedStateMachine):
    """Cards pay and take back at Stripe; we hear of it as luck has it."""

    server: ClassVar[PostgresServer]

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        url = self.stack.enter_context(fresh_database(self.server))
        self.shop: Shop = self.wait(self.stack.enter_async_context(opened_shop(url)))
        self.purchases: list[Purchase] = []

    @override
    def teardown(self) -> None:
        if hasattr(self, "stack"):
            try:
                self.wait(self._all_is_heard_of())
                self.wait(self.shop.books.assert_sound())
            finally:
                self.wait(self.stack.aclose())
                self.loop.close()

    def wait[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    def things(self, kind: str) -> list[dict[str, Any]]:
        return list(self.shop.stripe.things[kind].values())

    @rule(amount=st.integers(50, 10**6), card=st.sampled_from(CARDS))
    def pay(self, amount: int, card: str) -> None:
        self.wait(self._pay(amount, card))

    async def _pay(self, amount: int, card: str) -> None:
        purchase = await self.shop.card_bought(amount)
        self.purchases.append(purchase)
        await self.shop.stripe.pay(await self.shop.client_secret(purchase), f"pm_card_{card}")

    @rule(which=st.integers(0), outcome=st.sampled_from(["succeed", "fail"]))
    def decide(self, which: int, outcome: str) -> None:
        waiting = [i["id"] for i in self.things("payment_intent") if i["status"] == "processing"]
        if waiting:
            chosen = waiting[which % len(waiting)]
            self.wait(self.shop.stripe.play("decide", chosen, outcome=outcome))

    @rule(which=st.integers(0), share=st.fractions(0, 1))
    def refund_in_the_dashboard(self, which: int, share: Any) -> None:
        left = {
            c["payment_intent"]: c["amount_captured"] - c["amount_refunded"]
            for c in self.things("charge")
            if not c["disputed"] and c["amount_captured"] > c["amount_refunded"]
        }
        if left:
            chosen = list(left)[which % len(left)]
            amount = max(1, int(left[chosen] * share))
            self.wait(self.shop.stripe.refund_elsewhere(amount, chosen))

    @rule(which=st.integers(0), status=st.sampled_from(["failed", "succeeded", "canceled"]))
    def end_a_refund(self, which: int, status: str) -> None:
        pending = [r["id"] for r in self.things("refund") if r["status"] == "pending"]
        if pending:
            chosen = pending[which % len(pending)]
            self.wait(self.shop.stripe.play("end_refund", chosen, status=status))

    @precondition(lambda self: self.purchases)
    @rule(which=st.integers(0), share=st.fractions(0, 1))
    def refund_by_us(self, which: int, share: Any) -> None:
        purchase = self.purchases[which % len(self.purchases)]
        with suppress(PurchaseStateError, InsufficientAvailableBalanceError):
            amount = max(1, int(purchase.pay_minor * share))
            self.wait(self.shop.refund(purchase, amount, new_id("key")))

    @rule(which=st.integers(0), share=st.fractions(0, 1))
    def dispute(self, which: int, share: Any) -> None:
        left = {
            c["id"]: c["amount_captured"] - c["amount_refunded"]
            for c in self.things("charge")
            if not c["disputed"] and c["amount_captured"] > c["amount_refunded"]
        }
        # A charge is disputed once; https://docs.stripe.com/disputes.
        for known in self.things("dispute"):
            left.pop(known["charge"], None)
        if left:
            chosen = list(left)[which % len(left)]
            amount = max(1, int(left[chosen] * share))
            self.wait(self.shop.stripe.play("dispute", chosen, amount=str(amount)))

    @rule(which=st.integers(0), status=st.sampled_from(["under_review", "won", "lost"]))
    def decide_a_dispute(self, which: int, status: str) -> None:
        is_open = [d["id"] for d in self.things("dispute") if d["status"] in WITHDRAWN[:2]]
        if is_open:
            chosen = is_open[which % len(is_open)]
            self.wait(self.shop.stripe.play("resolve", chosen, status=status))

    @rule(share=st.fractions(0, 1))
    def spend(self, share: Any) -> None:
        amount = int(self.wait(self.shop.available()) * share)
        if amount > 0:
            posting = rules.transfer(
                key=new_id("spent"),
                source=chart.available("u1"),
                target=chart.available("u2"),
                asset="ITD",
                amount_minor=amount,
                at=self.shop.clock.now(),
            )
            self.wait(self.shop.books.ledger.post(posting))

    @precondition(lambda self: self.things("event"))
    @rule(picks=st.lists(st.integers(0), min_size=1, max_size=6))
    def hear(self, picks: list[int]) -> None:
        """Any of the events so far arrive, in any order, and some of them again."""
        for pick in picks:
            events = self.things("event")
            self.wait(self._deliver(events[pick % len(events)]))

    @precondition(lambda self: self.things("charge"))
    @rule(which=st.integers(0), kind=st.sampled_from(["charge.refunded", "charge.dispute.created"]))
    def hear_an_old_or_false_story(self, which: int, kind: str) -> None:
        """Signed, and its content is wrong: it says only what to look at."""
        charges = self.things("charge")
        charge = charges[which % len(charges)]
        lie = {**charge, "amount": 1, "amount_refunded": charge["amount"], "refunded": True}
        event = {**self.things("event")[0], "id": new_id("evt"), "type": kind}
        self.wait(self._deliver({**event, "data": {"object": lie}}))

    async def _deliver(self, event: dict[str, Any]) -> None:
        payload = json.dumps(event)
        signature = stripe.WebhookSignature.generate_signature_header(
            payload, WEBHOOK_SECRET, timestamp=int(time.time())
        )
        delivery = verified(payload.encode(), signature, WEBHOOK_SECRET)
        assert delivery is not None
        async with self.shop.api.transaction() as session:
            is_open = await keep(session, delivery, clock=self.shop.clock)
        if is_open:
            await self._handle(delivery.event_id)

    async def _handle(self, event_id: str) -> None:
        purchase_id = await self.shop.cards.resolve(event_id)
        await self.shop.cards.mark_handled(event_id, purchase_id)
        for purchase in self.purchases:
            if purchase.id == purchase_id:
                await self._look(purchase)

    async def _look(self, purchase: Purchase) -> None:
        """Do what the purchase's workflow does when it is told."""
        standing = await self.shop.look(purchase)
        while standing.task == PurchaseTask.REFUND:
            await self.shop.cards.refund(str(standing.refund_id))
            standing = await self.shop.advance(purchase)

    async def _all_is_heard_of(self) -> None:
        """What never came is in the gateway's list; our own refunds have their own workflow."""
        for purchase in self.purchases:
            refunds = await self.shop.refunds(purchase)
            if any(refund.status == RefundStatus.REQUESTED for refund in refunds):
                await self._look(purchase)
        review = PostgresCardReview(
            self.shop.books.worker, self.shop.gateway, self.shop.clock, grace=GRACE
        )
        await review.missed()
        self.shop.clock.advance(GRACE)
        while missed := await review.missed():
            for event_id in missed:
                await self._handle(event_id)
        await assert_equal_to_stripe(self.shop)
        assert await self.shop.books.balance(chart.purchase_clearing("stripe"), "EUR") == 0
        for purchase in self.purchases:
            row = await self.shop.purchase(purchase.id)
            kept = self._kept_minor(purchase.id)
            assert row.credited_minor == row.amount_minor * kept // row.pay_minor, row

    def _kept_minor(self, purchase_id: str) -> int:
        """Return what Stripe still has of a purchase's payment, as its own objects say."""
        charges = [c for c in self.things("charge") if c["metadata"]["purchase_id"] == purchase_id]
        kept = 0
        for charge in charges:
            given_back = sum(
                refund["amount"]
                for refund in self.things("refund")
                if refund["charge"] == charge["id"] and refund["status"] in ("succeeded", "pending")
            )
            withdrawn = sum(
                dispute["amount"]
                for dispute in self.things("dispute")
                if dispute["charge"] == charge["id"] and dispute["status"] in WITHDRAWN
            )
            kept += max(0, charge["amount_captured"] - given_back - withdrawn)
        return kept

    @invariant()
    def what_is_issued_is_held_and_paid_for(self) -> None:
        if hasattr(self, "shop"):
            self.wait(self._check())

    async def _check(self) -> None:
        held = await self.shop.available() + await self.shop.available(user_id="u2")
        assert await self.shop.issued() == held
        rows = [await self.shop.purchase(purchase.id) for purchase in self.purchases]
        assert sum(row.credited_minor for row in rows) == held
        for row in rows:
            assert row.credited_minor * row.pay_minor <= row.converted_minor * row.amount_minor


def test_any_order_of_events_ends_where_stripe_does(postgres_server: PostgresServer) -> None:
    CardEventMachine.server = postgres_server
    run_state_machine_as_test(
        CardEventMachine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
