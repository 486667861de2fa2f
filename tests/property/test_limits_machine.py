"""Limits against a model: any order of reservations, releases and waiting, on PostgreSQL."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, override

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from domain.limits import Limit, Operation
from limits.reservation import give_back
from tests.support.books import Books, opened_books
from tests.support.limits import frozen, release, row, set_level, set_limits, standings
from tests.support.postgres import PostgresServer, fresh_database

ASSETS = ("ETH", "USD")
TABLE = (
    row(0, amount_minor="50", count=4),
    row(0, asset="*", count=6),
    row(0, window="30d", amount_minor="120"),
    row(1, amount_minor="90"),
    row(1, asset="*", window="30d", count=20),
)
STEP = timedelta(hours=3)


@dataclass(frozen=True)
class Used:
    id: str
    asset: str
    amount_minor: int
    at: datetime


class LimitsMachine(RuleBasedStateMachine):
    """What is accepted is what the model accepts, and what it says of standings is so."""

    server: ClassVar[PostgresServer]

    open_uses = Bundle("open_uses")

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        url = self.stack.enter_context(fresh_database(self.server))
        self.books: Books = self.wait(self.stack.enter_async_context(opened_books(url)))
        for asset in ASSETS:
            self.wait(self.books.deposit("u1", asset, 10**6))
        self.wait(set_limits(self.books, *TABLE))
        self.level = 0
        self.uses: list[Used] = []
        self.count = 0

    @override
    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.wait(self.books.assert_sound())
            self.wait(self.stack.aclose())
            self.loop.close()

    def wait[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    def within(self, limit: Limit) -> list[Used]:
        start = self.books.clock.now() - limit.window.length
        return [use for use in self.uses if use.at > start and limit.counts(use.asset)]

    def limits(self) -> list[Limit]:
        found = [Limit.model_validate(one) for one in TABLE]
        return [limit for limit in found if limit.level == self.level]

    def fits(self, asset: str, amount_minor: int) -> bool:
        for limit in self.limits():
            if limit.counts(asset):
                uses = self.within(limit)
                cap_minor = limit.amount_cap_minor
                if limit.count is not None and len(uses) + 1 > limit.count:
                    return False
                spent_minor = sum(use.amount_minor for use in uses) + amount_minor
                if cap_minor is not None and spent_minor > cap_minor:
                    return False
        return True

    @rule(target=open_uses, asset=st.sampled_from(ASSETS), amount_minor=st.integers(1, 60))
    def reserve(self, asset: str, amount_minor: int) -> Any:
        self.count += 1
        name = f"p{self.count}"
        expected = self.fits(asset, amount_minor)
        assert self.wait(frozen(self.books, name, amount_minor, asset=asset)) == expected
        if not expected:
            return multiple()
        use = Used(name, asset, amount_minor, self.books.clock.now())
        self.uses.append(use)
        return use

    @rule(use=consumes(open_uses), is_expiry=st.booleans())
    def end_the_hold(self, use: Used, is_expiry: bool) -> None:  # noqa: FBT001
        self.wait(
            release(self.books, use.id, use.amount_minor, asset=use.asset, is_expiry=is_expiry)
        )
        self.uses.remove(use)

    @rule(use=consumes(open_uses))
    def give_back(self, use: Used) -> None:
        """Twice, and its hold is released afterwards: it counts as given back once."""

        async def gave_back() -> None:
            for _ in range(2):
                async with self.books.worker.transaction() as session:
                    await give_back(session, use.id)
            await release(self.books, use.id, use.amount_minor, asset=use.asset)

        self.wait(gave_back())
        self.uses.remove(use)

    @rule(steps=st.integers(1, 12))
    def pass_time(self, steps: int) -> None:
        self.books.clock.advance(steps * STEP)

    @rule()
    def be_verified(self) -> None:
        if self.level == 0:
            self.wait(set_level(self.books, 1))
            self.level = 1

    @rule()
    def look(self) -> None:
        found = self.wait(standings(self.books, operation=Operation.PAYOUT))
        assert [one.limit for one in found] == self.limits()
        for one in found:
            uses = self.within(one.limit)
            assert one.used_count == len(uses)
            assert one.used_minor in (None, sum(use.amount_minor for use in uses))
            oldest = min((use.at for use in uses), default=None)
            assert one.renews_at == (oldest and oldest + one.limit.window.length)


def test_any_order_of_steps_agrees_with_the_model(postgres_server: PostgresServer) -> None:
    LimitsMachine.server = postgres_server
    run_state_machine_as_test(
        LimitsMachine,
        settings=settings(
            max_examples=6,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
