"""The machine's books, processes and helpers; its rules are in the modules beside it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from domain.disperse import runtime_code
from domain.errors import (
    ConflictError,
    OutcomeUnknownError,
    RequestError,
    TransientError,
)
from domain.ids import new_id
from ledger import rules
from tests.integration.runs.batch_steps import BatchSteps
from tests.integration.runs.dying import DiedError, Fuse, MoodySigner, MortalDatabase
from tests.integration.runs.facts import ASSETS, OPENING_MINOR, Facts, facts_of
from tests.integration.runs.paying_chain import PayingChain
from tests.integration.runs.promises import (
    check_candidates,
    check_holds,
    check_money,
    check_paid_once,
)
from tests.support.books import CHAIN, USERS, as_role, opened_books
from tests.support.postgres import PostgresServer, fresh_database
from tests.support.runs import DISPERSE, Runs, allow_dispersals

Request = Callable[[], Coroutine[Any, Any, Any]]
REFUSALS = (ConflictError, RequestError, TransientError, OutcomeUnknownError)
deaths = st.one_of(st.none(), st.none(), st.integers(1, 8))
"""At which instant of a step its process dies, if at any."""


class InterleavedMachine(RuleBasedStateMachine):
    """Runs and payouts on their way; what they promise holds after every step of anybody."""

    server: ClassVar[PostgresServer]

    def open(
        self, *, confirmations: int, outputs_max: int, batch_size: int, approvals: tuple[int, int]
    ) -> None:
        """Open books of these settings; ``approvals`` are what each asset needs."""
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.fuse = Fuse()
        self.chain = PayingChain(codes={DISPERSE: runtime_code()}, on_taken=self.fuse.burn)
        self.keys = MoodySigner()
        self.confirmations = confirmations
        self.amounts = 0
        self.is_settled_final = True
        self.asked: list[Request] = []
        """Everything that was asked for, to be asked for again with the same keys."""
        self.run_ids: list[str] = []
        self.batches: list[BatchSteps] = []
        self.claim_key = new_id("claim")
        url = self.stack.enter_context(fresh_database(self.server))
        self.wait(self._open(url, outputs_max, batch_size, approvals))

    async def _open(
        self, url: str, outputs_max: int, batch_size: int, approvals: tuple[int, int]
    ) -> None:
        opened = await self.stack.enter_async_context(opened_books(url))
        mortal = [MortalDatabase(as_role(url, role), self.fuse) for role in ("worker", "signer")]
        for database in mortal:
            self.stack.push_async_callback(database.close)
        self.books = replace(
            opened, worker=mortal[0], signer_database=mortal[1], chain=self.chain, keys=self.keys
        )
        self.runs = Runs(self.books)
        for asset, token in ASSETS.items():
            for user in USERS:
                await self.books.deposit(user, asset, OPENING_MINOR)
            await self.books.ledger.post(
                rules.capital_in(
                    txid=f"capital {asset}",
                    chain_id=CHAIN,
                    asset=asset,
                    amount_minor=10**12,
                    at=self.books.clock.now(),
                )
            )
            self.chain.owned_minor[token] = 10**12 + len(USERS) * OPENING_MINOR
        await allow_dispersals(self.books, outputs_max=outputs_max)
        await self.set_chain("confirmations_min", self.confirmations)
        await self.set_chain("batch_size", batch_size)
        policy = [
            {"asset": asset, "up_to_minor": None, "approvals": needed}
            for asset, needed in zip(ASSETS, approvals, strict=True)
        ]
        await self.books.set_policy({"rules": policy})

    async def set_chain(self, column: str, value: int) -> None:
        await self.books.execute(f"UPDATE chain SET {column} = {value}")  # noqa: S608

    def wait[Result](self, work: Awaitable[Result]) -> Result:
        async def waited() -> Result:
            return await work

        return self.loop.run_until_complete(waited())

    def live[Result](self, work: Awaitable[Result], dies_at: int | None = None) -> Result | None:
        """Let a process do this, or refuse, or die on the way."""
        self.fuse.light(dies_at)
        try:
            return self.wait(work)
        except (DiedError, *REFUSALS):
            return None
        finally:
            self.wait(self._bury())
            self.fuse.light(None)

    async def _bury(self) -> None:
        """End what a dead process had begun beside what killed it."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def new_amount(self, extra_minor: int) -> int:
        """Return an amount that no other line has."""
        self.amounts += 1
        return 1_000 * self.amounts + extra_minor

    def facts(self) -> Facts:
        return self.wait(facts_of(self.books))

    @invariant()
    def keeps_its_promises(self) -> None:
        if not hasattr(self, "books"):
            return
        facts = self.facts()
        check_paid_once(facts, self.chain, is_settled_final=self.is_settled_final)
        check_candidates(facts)
        check_holds(facts)
        check_money(facts)
        self.wait(self.books.assert_sound())
