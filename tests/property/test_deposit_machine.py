"""Deposits against a model: any order of blocks, reorgs, looks, credits and deaths."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
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

from domain.deposits import DepositStatus
from domain.errors import InsufficientAvailableBalanceError
from domain.ids import new_id
from domain.scanning import Incoming
from ledger import chart, rules
from models.deposits import ChainAddress
from tests.support.books import TOKEN, USERS, opened_books
from tests.support.forked_chain import ForkedBooks
from tests.support.postgres import PostgresServer, fresh_database

JUNK = "0x000000000000000000000000000000000000dEaD"
CODES = {None: "ETH", TOKEN: "USD"}
CONFIRMATIONS = 3
WHO = (*USERS, "u1")
"""Whose the addresses are."""
STEPS = ("_drop_orphans", "_read_run", "_take_pool", "_confirm", "_due")


class DepositMachine(RuleBasedStateMachine):
    """The chain is the model: in the end the books must say what it says."""

    server: ClassVar[PostgresServer]

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        url = self.stack.enter_context(fresh_database(self.server))
        self.books = self.wait(self.stack.enter_async_context(opened_books(url)))
        self.forked = ForkedBooks(self.books)
        self.wait(self.forked.open())
        self.chain = self.forked.chain
        self.chain.mine(2)
        self.watch = self.forked.new_watch()
        self.addresses: list[ChainAddress] = [
            self.wait(self.forked.address(user, key)) for user, key in zip(WHO, "abc", strict=True)
        ]
        self.spent: Counter[tuple[str, str]] = Counter()
        self.dropped: list[Incoming] = []
        self.count = 0
        self.was_reversed = False

    @override
    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        try:
            self.end_as_the_chain_does()
        finally:
            self.wait(self.stack.aclose())
            self.loop.close()

    def wait[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    # The chain.

    @rule(
        who=st.integers(0, 2),
        amount_minor=st.integers(1, 9),
        contract=st.sampled_from([None, TOKEN, JUNK]),
        twins=st.integers(1, 2),
        depth=st.integers(1, 4),
    )
    def pay(
        self, who: int, amount_minor: int, contract: str | None, *, twins: int, depth: int
    ) -> None:
        """Mine a transaction that pays a customer, once or twice, and look at it."""
        self.count += 1
        self.chain.add(
            Incoming(
                f"0x{self.count}",
                f"log:{n}",
                self.addresses[who].lookup_key,
                amount_minor,
                contract,
            )
            for n in range(twins)
        )
        self.chain.mine(depth - 1)
        self.look(is_told=True)

    @rule(blocks=st.integers(1, 4))
    def mine(self, blocks: int) -> None:
        self.chain.mine(blocks)

    @rule(
        depth=st.integers(1, 6),
        longer=st.integers(-3, 2),
        place=st.integers(0, 5),
        change=st.sampled_from(["keep", "drop", "amount", "token"]),
        dies_at=st.sampled_from([None, *STEPS]),
    )
    def reorganize(
        self, depth: int, longer: int, *, place: int, change: str, dies_at: str | None
    ) -> None:
        """
        Put another fork in the place of the newest blocks; it may be shorter for now.

        The watcher may die on the way to it.
        """
        depth = min(depth, len(self.chain.blocks) - 2)
        if not depth:
            return
        gone = self.chain.take_back(depth)
        blocks = max(depth + longer, 0)
        kept = [] if change == "drop" or not blocks else [changed(each, change) for each in gone]
        self.dropped += gone if not kept else []
        for n in range(blocks):
            self.chain.add(kept if n == min(place, blocks - 1) else [])
        if dies_at:
            self.die(dies_at, has_effect=False)

    @rule()
    def bring_back(self) -> None:
        """Mine what an earlier reorg dropped, unless the chain has that transaction already."""
        present = {arrival.txid for _, arrival in self.chain.held}
        back = [arrival for arrival in self.dropped if arrival.txid not in present]
        self.dropped = []
        self.chain.add(dict.fromkeys(back))

    # What we do.

    @rule(is_told=st.booleans())
    def look(self, is_told: bool) -> None:  # noqa: FBT001
        """Let the watcher look once; perhaps it dies before it has told anybody."""
        found = self.wait(self.watch.watch_once())
        if is_told:
            for deposit_id in found.deposits:
                self.advance(deposit_id)
            self.wait(self.watch.mark_notified(found.deposits))

    @rule(step=st.sampled_from(STEPS), has_effect=st.booleans())
    def die(self, step: str, *, has_effect: bool) -> None:
        """Let a watcher die before or after one of its steps; workflows look all the same."""
        watch = self.forked.new_watch()
        setattr(watch, step, dying(getattr(watch, step), has_effect=has_effect))
        try:
            self.wait(watch.watch_once())
        except DiedError:
            self.watch = self.forked.new_watch()
        for deposit in self.wait(self.forked.deposits()):
            self.advance(deposit.id)

    @rule()
    def look_twice_at_once(self) -> None:
        """Let a watcher that was given up for dead go on beside its successor."""
        watches = [self.watch, self.forked.new_watch()]

        async def both() -> None:
            await asyncio.gather(*(w.watch_once() for w in watches), return_exceptions=True)

        self.wait(both())

    @rule(which=st.integers(0, 20), times=st.integers(1, 3))
    def wake(self, which: int, times: int) -> None:
        """Let the workflow of any deposit look at any time, perhaps more than one at once."""
        if deposits := self.wait(self.forked.deposits()):
            self.advance(deposits[which % len(deposits)].id, times=times)

    def advance(self, deposit_id: str, *, times: int = 1) -> None:
        before = {d.id: d for d in self.wait(self.forked.deposits())}[deposit_id]
        tip_height, _ = self.wait(self.forked.blocks())[-1]

        async def at_once() -> None:
            await asyncio.gather(*(self.forked.desk.advance(deposit_id) for _ in range(times)))

        self.wait(at_once())
        after = {d.id: d for d in self.wait(self.forked.deposits())}[deposit_id]
        if after.is_booked and not before.is_booked:
            assert after.credits == before.credits + 1
            assert tip_height - (after.block_height or 0) + 1 >= CONFIRMATIONS
        self.was_reversed |= before.is_booked and not after.is_booked

    @rule(user=st.sampled_from(USERS), amount_minor=st.integers(1, 12))
    def spend(self, user: str, amount_minor: int) -> None:
        available, _ = self.wait(self.books.money(user))
        posting = rules.transfer(
            key=new_id("spent"),
            source=chart.available(user),
            target=chart.CAPITAL,
            asset="ETH",
            amount_minor=amount_minor,
            at=self.books.clock.now(),
        )
        try:
            self.wait(self.books.ledger.post(posting))
        except InsufficientAvailableBalanceError:
            assert available < amount_minor
        else:
            assert available >= amount_minor
            self.spent[user, "ETH"] += amount_minor

    @rule(seconds=st.sampled_from([11, 61]))
    def let_time_pass(self, seconds: int) -> None:
        self.books.wait(seconds)

    # What must hold.

    @invariant()
    def books_say_what_is_booked(self) -> None:
        if not hasattr(self, "books"):
            return
        booked: Counter[tuple[str, str]] = Counter()
        for deposit in self.wait(self.forked.deposits()):
            if deposit.is_booked:
                booked[deposit.user_id, str(deposit.asset)] += deposit.amount_minor
        for user in USERS:
            for asset in CODES.values():
                available, _ = self.wait(self.books.money(user, asset))
                assert available == booked[user, asset] - self.spent[user, asset]
                assert available >= 0 or self.was_reversed

    def end_as_the_chain_does(self) -> None:
        self.chain.mine(CONFIRMATIONS)
        for _ in range(4):
            self.books.wait(61)
            self.look(is_told=True)
        self.books_say_what_is_booked()
        assert self.wait(self.forked.blocks()) == [(b.height, b.hash) for b in self.chain.blocks]
        expected: Counter[tuple[str, str]] = Counter()
        owners = {address.lookup_key: str(address.user_id) for address in self.addresses}
        for _, arrival in self.chain.held:
            if code := CODES.get(arrival.contract_address):
                expected[owners[arrival.lookup_key], code] += arrival.amount_minor
        for user in USERS:
            for asset in CODES.values():
                available, _ = self.wait(self.books.money(user, asset))
                assert available == expected[user, asset] - self.spent[user, asset]
        for deposit in self.wait(self.forked.deposits()):
            assert deposit.is_booked == (deposit.status == DepositStatus.CREDITED)
        self.wait(self.books.assert_sound())


class DiedError(Exception):
    """The watcher's process is gone."""


def dying(
    step: Callable[..., Awaitable[Any]], *, has_effect: bool
) -> Callable[..., Awaitable[Any]]:
    async def dies(*arguments: Any) -> Any:
        if has_effect:
            await step(*arguments)
        raise DiedError

    return dies


def changed(arrival: Incoming, change: str) -> Incoming:
    """Return what the same transaction moves in another fork."""
    contract, amount_minor = arrival.contract_address, arrival.amount_minor
    if change == "amount":
        amount_minor += 1
    if change == "token":
        contract = {None: TOKEN, TOKEN: JUNK}.get(contract)
    return Incoming(arrival.txid, arrival.position, arrival.lookup_key, amount_minor, contract)


def test_deposits_end_as_the_chain_does(postgres_server: PostgresServer) -> None:
    DepositMachine.server = postgres_server
    run_state_machine_as_test(
        DepositMachine,
        settings=settings(
            max_examples=10,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
