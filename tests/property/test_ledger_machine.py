"""The money core against a model: any order of steps, on a real PostgreSQL."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, ClassVar, override

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from domain.errors import HoldStateError, InsufficientAvailableBalanceError
from ledger import chart, rules
from ledger.posting import Posting
from tests.support.books import CHAIN, Books, opened_books
from tests.support.postgres import PostgresServer, fresh_database

USERS = ("u1", "u2")
ASSETS = ("ETH", "USD")
Place = tuple[str, str]
Hold = tuple[str, str, str, int]
amounts = st.integers(1, 60) | st.integers(2**250, 2**255)


class LedgerMachine(RuleBasedStateMachine):
    """Deposits, holds and what ends them; each rule posts and tells the model."""

    server: ClassVar[PostgresServer]

    placed = Bundle("placed")
    flying = Bundle("flying")
    ended = Bundle("ended")

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        url = self.stack.enter_context(fresh_database(self.server))
        self.books: Books = self.wait(self.stack.enter_async_context(opened_books(url)))
        self.available: dict[Place, int] = {}
        self.held: dict[Place, int] = {}
        self.in_flight = dict.fromkeys(ASSETS, 0)
        self.owned = dict.fromkeys(ASSETS, 0)
        self.count = 0

    @override
    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.wait(self.books.assert_sound())
            self.wait(self.stack.aclose())
            self.loop.close()

    def wait[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    def post(self, posting: Posting) -> None:
        """Post, then post again: a repeat must change nothing."""
        (first,) = self.wait(self.books.ledger.post(posting))
        (second,) = self.wait(self.books.ledger.post(posting))
        assert (first.is_new, second.is_new) == (True, False)

    @rule(user=st.sampled_from(USERS), asset=st.sampled_from(ASSETS), amount_minor=amounts)
    def deposit(self, user: str, asset: str, amount_minor: int) -> None:
        self.wait(self.books.deposit(user, asset, amount_minor))
        self.available[user, asset] = self.available.get((user, asset), 0) + amount_minor
        self.owned[asset] += amount_minor

    @rule(
        target=placed,
        user=st.sampled_from(USERS),
        asset=st.sampled_from(ASSETS),
        amount_minor=amounts,
    )
    def freeze(self, user: str, asset: str, amount_minor: int) -> Any:
        self.count += 1
        posting = rules.payout_freeze(
            payout_id=f"p{self.count}",
            hold_id=f"h{self.count}",
            user_id=user,
            asset=asset,
            total_minor=amount_minor,
            limits=(),
            expires_at=None,
            at=self.books.clock.now(),
        )
        if self.available.get((user, asset), 0) < amount_minor:
            with pytest.raises(InsufficientAvailableBalanceError):
                self.wait(self.books.ledger.post(posting))
            return multiple()
        self.post(posting)
        self.available[user, asset] -= amount_minor
        self.held[user, asset] = self.held.get((user, asset), 0) + amount_minor
        return (f"{self.count}", user, asset, amount_minor)

    def _release(self, hold: Hold, *, is_expiry: bool) -> Posting:
        number, user, asset, amount_minor = hold
        return rules.payout_release(
            payout_id=f"p{number}",
            hold_id=f"h{number}",
            user_id=user,
            asset=asset,
            total_minor=amount_minor,
            is_expiry=is_expiry,
            at=self.books.clock.now(),
        )

    def _dispatch(self, hold: Hold) -> Posting:
        number, user, asset, amount_minor = hold
        return rules.payout_dispatch(
            payout_id=f"p{number}",
            hold_id=f"h{number}",
            user_id=user,
            chain_id=CHAIN,
            asset=asset,
            total_minor=amount_minor,
            at=self.books.clock.now(),
        )

    @rule(target=ended, hold=consumes(placed), is_expiry=st.booleans())
    def release(self, hold: Hold, is_expiry: bool) -> Hold:  # noqa: FBT001
        self.post(self._release(hold, is_expiry=is_expiry))
        _, user, asset, amount_minor = hold
        self.held[user, asset] -= amount_minor
        self.available[user, asset] += amount_minor
        return hold

    @rule(target=flying, hold=consumes(placed))
    def dispatch(self, hold: Hold) -> Hold:
        self.post(self._dispatch(hold))
        _, user, asset, amount_minor = hold
        self.held[user, asset] -= amount_minor
        self.in_flight[asset] += amount_minor
        return hold

    @rule(hold=flying)
    def release_too_late(self, hold: Hold) -> None:
        with pytest.raises(HoldStateError):
            self.wait(self.books.ledger.post(self._release(hold, is_expiry=False)))

    @rule(hold=ended)
    def dispatch_too_late(self, hold: Hold) -> None:
        with pytest.raises(HoldStateError):
            self.wait(self.books.ledger.post(self._dispatch(hold)))

    @rule(hold=consumes(flying), fee_minor=st.integers(0, 5))
    def settle(self, hold: Hold, fee_minor: int) -> None:
        number, _, asset, total_minor = hold
        fee_minor = min(fee_minor, total_minor - 1)
        self.post(
            rules.payout_settle(
                payout_id=f"p{number}",
                chain_id=CHAIN,
                asset=asset,
                amount_minor=total_minor - fee_minor,
                fee_minor=fee_minor,
                at=self.books.clock.now(),
            )
        )
        self.in_flight[asset] -= total_minor
        self.owned[asset] -= total_minor - fee_minor

    @rule(hold=consumes(flying))
    def give_back(self, hold: Hold) -> None:
        number, user, asset, total_minor = hold
        self.post(
            rules.payout_return(
                payout_id=f"p{number}",
                user_id=user,
                chain_id=CHAIN,
                asset=asset,
                total_minor=total_minor,
                at=self.books.clock.now(),
            )
        )
        self.in_flight[asset] -= total_minor
        self.available[user, asset] += total_minor

    @invariant()
    def agrees_with_the_model(self) -> None:
        if not hasattr(self, "books"):
            return
        for user in USERS:
            for asset in ASSETS:
                available, held = self.wait(self.books.money(user, asset))
                assert available == self.available.get((user, asset), 0) >= 0
                assert held == self.held.get((user, asset), 0) >= 0
        for asset in ASSETS:
            assert self.wait(self.books.in_flight(asset)) == self.in_flight[asset]
            assert (
                -self.wait(self.books.balance(chart.omnibus_hot(CHAIN), asset))
                == (self.owned[asset])
            )


def test_ledger_agrees_with_its_model(postgres_server: PostgresServer) -> None:
    LedgerMachine.server = postgres_server
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=8,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
