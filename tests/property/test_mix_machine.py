"""Mixes against their books: whatever comes, goes, is held, given up or paid, no unit is lost."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
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

from domain.errors import MixStateError
from domain.mixing.messages import DoleStatus, MixStatus
from ledger import chart
from models.mixing import Mix
from tests.support.books import CHAIN
from tests.support.mixing import MixHouse, opened_house
from tests.support.postgres import PostgresServer, fresh_database


class MixMachine(RuleBasedStateMachine):
    """One customer mixes, and everything happens to their mixes that can."""

    server: ClassVar[PostgresServer]

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        url = self.stack.enter_context(fresh_database(self.server))
        self.house: MixHouse = self.wait(self.stack.enter_async_context(opened_house(url)))
        self.mixes: list[Mix] = []
        self.refused: list[Mix] = []
        self.deposits: dict[str, tuple[Mix, int, bool]] = {}

    @override
    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.wait(self.house.books.assert_sound())
            self.wait(self.stack.aclose())
            self.loop.close()

    def wait[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    @precondition(lambda self: len(self.mixes) < 3)
    @rule()
    def ask(self) -> None:
        accepted = self.wait(self.house.open())
        if accepted.reason_code is None:
            self.mixes.append(self.wait(self.house.mix(accepted.mix_id)))

    @precondition(lambda self: self.mixes)
    @rule(which=st.integers(0), amount=st.sampled_from([4_999, 5_000, 7_777, 33_333, 100_001]))
    def pay_in(self, which: int, amount: int) -> None:
        mix = self.mixes[which % len(self.mixes)]
        deposit_id = self.wait(self.house.seen(mix, amount))
        self.wait(self.house.confirm(deposit_id))
        self.deposits[deposit_id] = (mix, amount, True)

    @precondition(lambda self: not self.refused)
    @rule(amount=st.sampled_from([100, 33_333]))
    def ask_where_something_came_before(self, amount: int) -> None:
        request = self.wait(self.house.request())
        deposit_id = self.wait(self.house.arrived(request.address_id, amount))
        self.wait(self.house.confirm(deposit_id, is_for_mix=False))
        assert self.wait(self.house.desk.open(request)).status == MixStatus.REFUSED
        mix = self.wait(self.house.mix(request.mix_id))
        self.refused.append(mix)
        self.deposits[deposit_id] = (mix, amount, True)

    @precondition(lambda self: self.refused)
    @rule()
    def pay_in_for_nothing(self) -> None:
        (mix,) = self.refused
        self.deposits[self.wait(self.house.fund(mix, 7_777, is_for_mix=False))] = (mix, 7_777, True)

    @precondition(lambda self: self.deposits)
    @rule(which=st.integers(0), is_seen=st.booleans())
    def reorganize(self, which: int, *, is_seen: bool) -> None:
        deposit_id = list(self.deposits)[which % len(self.deposits)]
        mix, amount, is_there = self.deposits[deposit_id]
        if is_there:
            self.wait(self.house.drop(deposit_id))
        else:
            self.wait(self.house.confirm(deposit_id, is_for_mix=mix not in self.refused))
        self.deposits[deposit_id] = (mix, amount, not is_there)
        if is_seen:
            self.wait(self.house.advance(mix))

    @precondition(lambda self: self.mixes)
    @rule(
        which=st.integers(0),
        what=st.sampled_from(["cancel", "pause", "resume", "hold", "release_hold"]),
        gives_back=st.booleans(),
    )
    def act(self, which: int, what: str, *, gives_back: bool) -> None:
        mix = self.mixes[which % len(self.mixes)]
        asked = self.house.act(mix, gives_back=gives_back) if "hold" in what else mix.id
        with suppress(MixStateError):
            self.wait(getattr(self.house.desk, what)(asked))

    @precondition(lambda self: self.mixes)
    @rule(hours=st.integers(1, 30))
    def pass_time(self, hours: int) -> None:
        self.house.clock.advance(timedelta(hours=hours))
        for mix in self.mixes:
            self.wait(self.house.advance(mix))
            self.wait(self._check_given_up(mix))

    async def _check_given_up(self, mix: Mix) -> None:
        """Nothing stays in a mix that is given up."""
        now = await self.house.mix(mix.id)
        if now.is_cancelled and now.hold_kind is None:
            assert await self.house.owed(mix) == 0

    @rule()
    def thaw(self) -> None:
        self.wait(self.house.books.execute("UPDATE user_freeze SET lifted_at = now()"))

    @invariant()
    def no_unit_is_made_or_lost(self) -> None:
        if hasattr(self, "house"):
            self.wait(self._check())

    async def _check(self) -> None:
        house, books = self.house, self.house.books
        assert await house.faults() == []
        available, held = await books.money()
        owed = [await house.owed(mix) for mix in self.mixes]
        there = sum(amount for _, amount, is_there in self.deposits.values() if is_there)
        assert -await books.balance(chart.omnibus_deposit(CHAIN)) == there
        # What came in is owed, earned, held for a payout, or a balance or debt of its user's.
        assert there == sum(owed) + await house.fees() + available + held
        released = 0
        for mix in self.mixes:
            doles = await house.doles(mix)
            paid = {p.id: (p.amount_minor, p.destination) for p in await house.payouts(mix)}
            out = [dole for dole in doles if dole.status == DoleStatus.RELEASED]
            assert {d.payout_id: (d.amount_minor, d.address) for d in out} == paid
            released += sum(dole.amount_minor for dole in out)
        # Nothing is paid by this chain: what was released is all still held.
        assert released == held


def test_no_unit_is_made_or_lost(postgres_server: PostgresServer) -> None:
    MixMachine.server = postgres_server
    run_state_machine_as_test(
        MixMachine,
        settings=settings(
            max_examples=8,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
