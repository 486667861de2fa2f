"""Transfers against a model: any order, several at once, keys repeated, limits in force."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, ClassVar, override

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from domain.errors import StrongroomError
from domain.limits import Operation, parse_limits
from limits.documents import store_limits
from models.transfers import Transfer
from tests.support.identity import Person
from tests.support.limits import row
from tests.support.postgres import PostgresServer, fresh_database
from tests.support.senders import Street, codes, open_street

NAMES = ("ada", "bob", "eve")
FUNDS_MINOR = 100
DAILY_COUNT, DAILY_MINOR = 12, 150
USERS = st.sampled_from(NAMES)
AMOUNTS = st.integers(1, 60)
MOVES = st.lists(st.tuples(USERS, USERS, AMOUNTS), min_size=2, max_size=6)


class TransfersMachine(RuleBasedStateMachine):
    """Money is conserved, nobody is below zero or above a limit, and a key is one transfer."""

    server: ClassVar[PostgresServer]

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        url = self.stack.enter_context(fresh_database(self.server))
        self.street: Street = self.wait(self.stack.enter_async_context(open_street(url)))
        self.people: dict[str, Person] = {}
        for name in NAMES:
            self.people[name] = self.wait(self.street.person(name, funds_minor=FUNDS_MINOR))
        limit = row(operation=Operation.SEND, amount_minor=str(DAILY_MINOR), count=DAILY_COUNT)
        self.wait(self.store(limit))
        self.balances = dict.fromkeys(NAMES, FUNDS_MINOR)
        self.sent: list[tuple[str, str, int, str]] = []
        self.uses: list[tuple[str, int, Any]] = []
        self.keys = 0

    @override
    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.wait(self.street.assert_sound())
            self.wait(self.stack.aclose())
            self.loop.close()

    def wait[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    async def store(self, limit: dict[str, Any]) -> None:
        async with self.street.owner.transaction() as session:
            await store_limits(session, parse_limits({"limits": [limit]}), by=None)

    async def send(
        self, sender: str, recipient: str, amount_minor: int, key: str
    ) -> Transfer | StrongroomError:
        return await self.street.sent(
            self.people[sender], self.people[recipient], amount_minor, key=key
        )

    def new_key(self) -> str:
        self.keys += 1
        return f"key{self.keys}"

    def expected(self, sender: str, recipient: str, amount_minor: int) -> str:
        start = self.street.clock.now() - timedelta(hours=24)
        uses = [minor for user, minor, at in self.uses if user == sender and at > start]
        if sender == recipient:
            return "own_transfer"
        if len(uses) + 1 > DAILY_COUNT or sum(uses) + amount_minor > DAILY_MINOR:
            return "limit_exceeded"
        if amount_minor > self.balances[sender]:
            return "insufficient_available_balance"
        return "made"

    def note(self, sender: str, recipient: str, amount_minor: int, key: str) -> None:
        self.balances[sender] -= amount_minor
        self.balances[recipient] += amount_minor
        self.sent.append((sender, recipient, amount_minor, key))
        self.uses.append((sender, amount_minor, self.street.clock.now()))

    @rule(sender=USERS, recipient=USERS, amount_minor=AMOUNTS)
    def send_one(self, sender: str, recipient: str, amount_minor: int) -> None:
        key = self.new_key()
        expected = self.expected(sender, recipient, amount_minor)
        outcome = self.wait(self.send(sender, recipient, amount_minor, key))
        assert codes([outcome]) == {expected: 1}
        if expected == "made":
            self.note(sender, recipient, amount_minor, key)

    @rule(sender=USERS, recipient=USERS, amount_minor=AMOUNTS, copies=st.integers(2, 5))
    def send_one_many_times_at_once(
        self, sender: str, recipient: str, amount_minor: int, copies: int
    ) -> None:
        key = self.new_key()
        expected = self.expected(sender, recipient, amount_minor)

        async def together() -> list[Transfer | StrongroomError]:
            work = (self.send(sender, recipient, amount_minor, key) for _ in range(copies))
            return await asyncio.gather(*work)

        assert codes(self.wait(together())) == {expected: copies}
        if expected == "made":
            self.note(sender, recipient, amount_minor, key)

    @rule(moves=MOVES)
    def send_many_at_once(self, moves: list[tuple[str, str, int]]) -> None:
        """What is made depends on who comes first; it must be what some order allows."""
        keyed = [(*move, self.new_key()) for move in moves]

        async def together() -> list[Transfer | StrongroomError]:
            return await asyncio.gather(*(self.send(*move) for move in keyed))

        outcomes = self.wait(together())
        allowed = {
            "made",
            "own_transfer",
            "limit_exceeded",
            "insufficient_available_balance",
        }
        assert codes(outcomes).keys() <= allowed
        for move, outcome in zip(keyed, outcomes, strict=True):
            if isinstance(outcome, Transfer):
                self.note(*move)

    @rule(data=st.data(), change=st.integers(0, 1))
    def repeat(self, data: st.DataObject, change: int) -> None:
        if self.sent:
            sender, recipient, amount_minor, key = data.draw(st.sampled_from(self.sent))
            outcome = self.wait(self.send(sender, recipient, amount_minor + change, key))
            assert codes([outcome]) == {"idempotency_key_reused" if change else "made": 1}

    @rule(hours=st.sampled_from([1, 12, 24]))
    def let_time_pass(self, hours: int) -> None:
        self.street.clock.advance(timedelta(hours=hours))

    @invariant()
    def balances_are_the_model_s(self) -> None:
        if hasattr(self, "street"):
            found = {n: self.wait(self.street.available(p)) for n, p in self.people.items()}
            assert found == self.balances
            assert min(found.values()) >= 0
            assert sum(found.values()) == FUNDS_MINOR * len(NAMES)

    @invariant()
    def each_key_is_one_transfer(self) -> None:
        if hasattr(self, "street"):
            rows = self.wait(self.street.transfers())
            assert Counter(r.idempotency_key for r in rows) == Counter(s[3] for s in self.sent)

    @invariant()
    def no_limit_is_passed(self) -> None:
        if hasattr(self, "street"):
            start = self.street.clock.now() - timedelta(hours=24)
            for name in NAMES:
                uses = [minor for user, minor, at in self.uses if user == name and at > start]
                assert len(uses) <= DAILY_COUNT
                assert sum(uses) <= DAILY_MINOR


class TestTransfers:
    def test_follow_the_model_in_any_order(self, postgres_server: PostgresServer) -> None:
        TransfersMachine.server = postgres_server
        run_state_machine_as_test(
            TransfersMachine,
            settings=settings(
                max_examples=5,
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
