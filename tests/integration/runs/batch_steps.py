"""The steps of ``ChainTransactionWorkflow``, one at a time, so that anything can happen between."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from domain.errors import StrongroomError
from tests.support.books import Books

DONE = "done"
STEPS_MAX = 8
"""More than a batch takes from its claim to where it waits for blocks."""


class BatchSteps:
    """One batch on its way; a step that dies is the next one again."""

    def __init__(self, books: Books, batch_id: str) -> None:
        self.books = books
        self.id = batch_id
        self.next = "prepare"
        self.taken: list[str] = []
        """What may be repeated by a worker that was given up for dead."""

    @property
    def is_waiting(self) -> bool:
        """Tell whether it waits for blocks, or has ended."""
        return self.next in ("wait", DONE)

    async def step(self, *, is_moved: bool = True) -> None:
        """Take the next step; one that waits settles if the watcher told it, else it bumps."""
        if self.next == DONE:
            return
        if self.next == "wait":
            self.next = "settle" if is_moved else "plan_bumps"
        name = self.next
        following: Callable[[], Awaitable[str]] = getattr(self, f"_{name}")
        self.next = await following()
        self.taken.append(name)

    async def go_on(self, *, is_moved: bool, steps: int = STEPS_MAX) -> None:
        """Take steps until it waits for blocks again, or for a node or a fee."""
        for _ in range(steps):
            await self.step(is_moved=is_moved)
            if self.is_waiting:
                return

    async def repeat(self, which: int) -> None:
        """Take a step once more that was taken before, and let nobody know."""
        if self.taken:
            await getattr(self, f"_{self.taken[which % len(self.taken)]}")()

    async def _prepare(self) -> str:
        await self.books.runner.prepare(self.id)
        return "allocate"

    async def _allocate(self) -> str:
        return "sign" if await self.books.log.allocate(self.id) else "prepare"

    async def _sign(self) -> str:
        outcome = await self.books.signer.sign(self.id)
        return "give_up" if outcome.refused else "broadcast"

    async def _give_up(self) -> str:
        await self.books.log.give_up_refused(self.id)
        return "sign_again"

    async def _sign_again(self) -> str:
        await self.books.signer.sign(self.id)
        return "broadcast"

    async def _broadcast(self) -> str:
        # The workflow gives up after a while: the watcher offers it again.
        with suppress(StrongroomError):
            await self.books.runner.broadcast(self.id)
        return "settle"

    async def _settle(self) -> str:
        outcome = await self.books.log.settle(self.id)
        if outcome.to_notify:
            told = await self.books.log.unnotified(self.id)
            await self.books.log.mark_notified([payout.payout_id for payout in told])
        return DONE if outcome.is_done else "wait"

    async def _plan_bumps(self) -> str:
        with suppress(StrongroomError):
            await self.books.runner.plan_bumps(self.id)
        return "sign"
