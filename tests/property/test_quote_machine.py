"""Quotes against a model: each is taken once, by its own user, in time, at the rate it said."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, override

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.purchases import PurchaseStatus
from gateways.rates.quotes import Side
from models.purchases import Quote
from tests.support.postgres import PostgresServer, fresh_database
from tests.support.purchases import Shop, opened_shop

KEYS = ("one", "other")
USERS = ("u1", "u2")


@dataclass
class Offered:
    """A quote, and what was said to whoever asked for it."""

    quote: Quote
    taken_by: tuple[str, str] | None = None
    """User and key."""
    answers: dict[tuple[str, str], str] = field(default_factory=dict)

    def answer(self, asked: tuple[str, str], *, now: datetime) -> str:
        """Return what must be answered: a status, or why not."""
        if asked in self.answers:
            return self.answers[asked]
        if asked[0] != self.quote.user_id:
            return "quote_not_found"
        if self.taken_by is not None:
            return "quote_used"
        if now > self.quote.expires_at:
            return "quote_expired"
        return PurchaseStatus.AWAITING_PAYMENT


class QuoteMachine(RuleBasedStateMachine):
    """Prices move, time passes, and quotes are taken by whoever tries, as often as they try."""

    server: ClassVar[PostgresServer]

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        url = self.stack.enter_context(fresh_database(self.server))
        self.shop: Shop = self.wait(self.stack.enter_async_context(opened_shop(url)))
        self.offers: list[Offered] = []

    @override
    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.wait(self.shop.books.assert_sound())
            self.wait(self.stack.aclose())
            self.loop.close()

    def wait[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    @rule(amount=st.integers(1, 10**9), side=st.sampled_from(["pay", "buy"]))
    def quote(self, amount: int, side: Side) -> None:
        amount_minor = amount * 10**12 if side == "pay" else amount
        quote = self.wait(self.shop.quote(amount_minor, side=side))
        assert quote.buy_minor * quote.rate_denominator <= quote.pay_minor * quote.rate_numerator
        self.offers.append(Offered(quote))

    @rule(seconds=st.integers(1, 40), price=st.integers(1, 10_000))
    def pass_time(self, seconds: int, price: int) -> None:
        self.shop.wait(seconds=seconds)
        self.wait(self.shop.set_price(str(price)))

    @precondition(lambda self: self.offers)
    @rule(which=st.integers(0), user=st.sampled_from(USERS), key=st.sampled_from(KEYS))
    def take(self, which: int, user: str, key: str) -> None:
        offered = self.offers[which % len(self.offers)]
        asked = (user, f"{offered.quote.id}-{key}")
        expected = offered.answer(asked, now=self.shop.clock.now())
        accepted = self.wait(self.shop.open(offered.quote.id, user_id=asked[0], key=asked[1]))
        assert (accepted.reason_code or accepted.status) == expected
        offered.answers[asked] = expected
        if expected == PurchaseStatus.AWAITING_PAYMENT:
            offered.taken_by = asked

    @precondition(lambda self: any(offered.taken_by for offered in self.offers))
    @rule(which=st.integers(0))
    def pay(self, which: int) -> None:
        """Whatever the price is by now, the price that was quoted buys what was quoted."""
        taken = [offered for offered in self.offers if offered.taken_by]
        offered = taken.pop(which % len(taken))
        self.wait(self._pay(offered))
        self.offers.remove(offered)

    async def _pay(self, offered: Offered) -> None:
        assert offered.taken_by is not None
        request = self.shop.request(
            offered.quote.id, user_id=offered.taken_by[0], key=offered.taken_by[1]
        )
        before = await self.shop.available(user_id=offered.quote.user_id)
        purchase = await self.shop.purchase(request.purchase_id)
        if self.shop.clock.now() > purchase.expires_at:
            return
        await self.shop.paid(purchase, offered.quote.pay_minor)
        after = await self.shop.available(user_id=offered.quote.user_id)
        assert after - before == offered.quote.buy_minor
        assert await self.shop.issued() == after


def test_each_is_taken_once_in_time_at_its_own_rate(postgres_server: PostgresServer) -> None:
    QuoteMachine.server = postgres_server
    run_state_machine_as_test(
        QuoteMachine,
        settings=settings(
            max_examples=8,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
