"""Purchases against their books: whatever is paid, taken, given back and spent, no unit is lost."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, ClassVar, override

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
from ledger import chart, rules
from models.purchases import Purchase
from tests.support.books import CHAIN
from tests.support.postgres import PostgresServer, fresh_database
from tests.support.purchases import Shop, opened_shop


class PurchaseMachine(RuleBasedStateMachine):
    """One customer buys with coins and cards, and everything happens to them that can."""

    server: ClassVar[PostgresServer]

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        url = self.stack.enter_context(fresh_database(self.server))
        self.shop: Shop = self.wait(self.stack.enter_async_context(opened_shop(url)))
        self.purchases: list[Purchase] = []
        self.cards: list[Purchase] = []
        self.deposits: dict[str, tuple[Purchase, int, bool]] = {}

    @override
    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.wait(self.shop.books.assert_sound())
            self.wait(self.stack.aclose())
            self.loop.close()

    def wait[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    @rule(share=st.integers(1, 10**6))
    def buy(self, share: int) -> None:
        self.purchases.append(self.wait(self.shop.bought(share * 10**13 + share)))

    @precondition(lambda self: self.purchases)
    @rule(which=st.integers(0), share=st.fractions(0, 2))
    def pay(self, which: int, share: Any) -> None:
        purchase = self.purchases[which % len(self.purchases)]
        amount = max(1, int(purchase.pay_minor * share))
        deposit_id = self.wait(self.shop.paid(purchase, amount))
        self.deposits[deposit_id] = (purchase, amount, True)

    @precondition(lambda self: self.deposits)
    @rule(which=st.integers(0), is_seen=st.booleans())
    def reorganize(self, which: int, *, is_seen: bool) -> None:
        deposit_id = list(self.deposits)[which % len(self.deposits)]
        purchase, amount, is_there = self.deposits[deposit_id]
        turn = self.shop.drop if is_there else self.shop.confirm
        self.wait(turn(deposit_id))
        self.deposits[deposit_id] = (purchase, amount, not is_there)
        if is_seen:
            self.wait(self.shop.advance(purchase))

    @precondition(lambda self: self.purchases)
    @rule(which=st.integers(0), share=st.fractions(0, 1))
    def refund(self, which: int, share: Any) -> None:
        purchase = self.purchases[which % len(self.purchases)]
        with suppress(PurchaseStateError, InsufficientAvailableBalanceError):
            amount = int(purchase.pay_minor * share)
            self.wait(self.shop.refund(purchase, amount, new_id("key")))

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

    @rule(minutes=st.integers(1, 90), price=st.sampled_from(["1900", "1990", "2000", "2050"]))
    def pass_time(self, minutes: int, price: str) -> None:
        self.shop.wait(minutes=minutes)
        self.wait(self.shop.set_price(price))

    @rule(amount=st.integers(50, 10**6), card=st.sampled_from(["visa", "createDispute"]))
    def pay_by_card(self, amount: int, card: str) -> None:
        self.cards.append(self.wait(self.shop.card_bought(amount, f"pm_card_{card}")))

    @precondition(lambda self: self.cards)
    @rule(which=st.integers(0), status=st.sampled_from(["won", "lost"]))
    def decide(self, which: int, status: str) -> None:
        disputes = self.shop.stripe.things["dispute"]
        charges = [c["id"] for c in self.shop.stripe.things["charge"].values() if not c["disputed"]]
        is_open = [d["id"] for d in disputes.values() if d["status"] == "needs_response"]
        if is_open:
            self.wait(
                self.shop.stripe.play("resolve", is_open[which % len(is_open)], status=status)
            )
        elif charges:
            self.wait(self.shop.stripe.play("dispute", charges[which % len(charges)]))
        for purchase in self.cards:
            self.wait(self.shop.look(purchase))

    @invariant()
    def no_unit_is_made_or_lost(self) -> None:
        if hasattr(self, "shop"):
            self.wait(self._check())

    async def _check(self) -> None:
        shop, books = self.shop, self.shop.books
        for purchase in self.purchases:
            await shop.advance(purchase)
        # What is issued is somebody's.
        held = await shop.available() + await shop.available(user_id="u2")
        assert await shop.issued() == held
        # What came in is ours or the customer's, and none of it waits.
        there = sum(amount for _, amount, is_there in self.deposits.values() if is_there)
        assert await books.balance(chart.purchase_clearing(CHAIN)) == 0
        ours = await books.balance(chart.PURCHASE_PROCEEDS)
        assert ours + await shop.available("ETH") == there
        assert -await books.balance(chart.omnibus_deposit(CHAIN)) == there
        # What was credited is never more than the quotes gave for what was kept.
        credited = 0
        for purchase in [*self.purchases, *self.cards]:
            row = await shop.purchase(purchase.id)
            assert row.credited_minor * row.pay_minor <= row.converted_minor * row.amount_minor
            credited += row.credited_minor
        assert credited == held
        charged = sum(
            c["amount_captured"]
            - sum(
                d["amount"]
                for d in shop.stripe.things["dispute"].values()
                if d["charge"] == c["id"] and d["status"] != "won"
            )
            for c in shop.stripe.things["charge"].values()
        )
        assert -await books.balance(chart.gateway("stripe"), "EUR") == charged


def test_no_unit_is_made_or_lost(postgres_server: PostgresServer) -> None:
    PurchaseMachine.server = postgres_server
    run_state_machine_as_test(
        PurchaseMachine,
        settings=settings(
            max_examples=10,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
