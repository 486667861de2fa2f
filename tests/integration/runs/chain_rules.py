"""What workers, the signer, the watcher and the chain do, step by step."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.ids import new_id
from tests.integration.runs.batch_steps import DONE, STEPS_MAX, BatchSteps
from tests.integration.runs.customer_rules import CustomerRules, strangers, which
from tests.integration.runs.interleaved import REFUSALS, deaths
from tests.support.books import CHAIN, HOT
from tests.support.runs import stranger

CEILING_MINOR = 1_000
NO_TROUBLE = "none"
TROUBLES = (NO_TROUBLE, NO_TROUBLE, "no node", "lost answers", "dear gas", "refusals")


def has_batches(machine: "ChainRules") -> bool:
    return bool(machine.batches)


class ChainRules(CustomerRules):
    """Everything between a ready line and the blocks that pay it."""

    @property
    def on_their_way(self) -> list[BatchSteps]:
        return [batch for batch in self.batches if batch.next != DONE]

    async def claim(self) -> None:
        """Take ready payouts; who died asks with the same key again."""
        batch_id = await self.books.log.claim(
            chain_id=CHAIN, wallet_address=HOT, claim_key=self.claim_key
        )
        if batch_id is not None:
            self.batches.append(BatchSteps(self.books, batch_id))
            self.claim_key = new_id("claim")

    @rule(
        blocks=st.integers(0, 4),
        steps=st.sampled_from([STEPS_MAX, STEPS_MAX, 3, 2]),
        is_moved=st.booleans(),
        dies_at=deaths,
    )
    def carry_on(self, blocks: int, *, steps: int, is_moved: bool, dies_at: int | None) -> None:
        """Let everybody do what they would, or some of it, until one of them dies."""
        self.live(self.claim())
        for batch in self.on_their_way:
            self.live(batch.go_on(is_moved=is_moved, steps=steps), dies_at)
        self.chain.mine(blocks)
        self.live(self.books.watch.watch_once(), dies_at)

    @precondition(has_batches)
    @rule(of=which, steps=st.integers(1, 4), is_moved=st.booleans(), dies_at=deaths)
    def drive(self, of: int, steps: int, *, is_moved: bool, dies_at: int | None) -> None:
        """Let a batch's workflow take its next steps; the last of them may die."""
        batch = self.batches[-1 - of % len(self.batches)]
        for _ in range(steps - 1):
            self.live(batch.step(is_moved=is_moved))
        self.live(batch.step(is_moved=is_moved), dies_at)

    @precondition(has_batches)
    @rule(of=which, step=which, request=which, is_alone=st.booleans(), dies_at=deaths)
    def come_late(
        self, of: int, step: int, *, request: int, is_alone: bool, dies_at: int | None
    ) -> None:
        """
        Let a worker that was given up for dead finish a step of long ago.

        Perhaps at the very moment at which batches, the watcher and a customer act.
        """
        work: list[Coroutine[Any, Any, Any]] = [
            self.batches[-1 - of % len(self.batches)].repeat(step)
        ]
        if not is_alone:
            work += [self.books.watch.watch_once(), self.claim()]
            work += [batch.step() for batch in self.on_their_way]
            work += [self.asked[request % len(self.asked)]()]

        async def at_once() -> None:
            for answer in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(answer, BaseException) and not isinstance(answer, REFUSALS):
                    raise answer

        self.live(at_once(), dies_at)

    @rule(
        blocks=st.integers(1, 5),
        most=st.sampled_from([99, 99, 1, 0]),
        pick=st.integers(0, 2),
        fails=st.sampled_from([False, False, False, True]),
        dies_at=deaths,
    )
    def mine(self, blocks: int, most: int, *, pick: int, fails: bool, dies_at: int | None) -> None:
        """Mine some of what waits, any candidate of it; the watcher looks, and may die of it."""
        self.chain.mine(blocks, most=most, pick=pick, fails=fails)
        self.live(self.books.watch.watch_once(), dies_at)

    @rule(
        depth=st.integers(1, 4),
        most=st.sampled_from([99, 1, 0]),
        pick=st.integers(0, 2),
        is_watched=st.booleans(),
        forget=st.booleans(),
    )
    def reorganize(
        self, depth: int, most: int, *, pick: int, is_watched: bool, forget: bool
    ) -> None:
        """Put a longer fork in the place of the newest blocks, with other transactions in it."""
        depth = min(depth, len(self.chain.blocks) - 1)
        if is_watched:
            self.live(self.books.watch.watch_once())
        self.is_settled_final &= depth < self.confirmations
        self.chain.rollback(depth, forget=forget)
        self.chain.mine(depth + 1, most=most, pick=pick)

    @rule(
        trouble=st.sampled_from(TROUBLES),
        who=strangers,
        seconds=st.sampled_from([0, 11, 61, 61, 241, 86_401]),
    )
    def change_the_world(self, trouble: str, who: int, seconds: int) -> None:
        """Let a recipient's code refuse from now on, or take again; change the node, and wait."""
        self.chain.failing ^= {stranger(who)}
        self.meet(trouble)
        self.books.wait(seconds)
        for run_id in self.run_ids:
            self.live(self.runs.desk.expire(run_id))

    def meet(self, trouble: str) -> None:
        """Change what node and signer do; above a ceiling of 1 the planner waits."""
        self.chain.is_down = trouble == "no node"
        self.keys.refuses = trouble == "refusals"
        self.chain.loses_answers = trouble == "lost answers"
        ceiling_minor = 1 if trouble == "dear gas" else CEILING_MINOR
        self.wait(self.set_chain("max_fee_ceiling_minor", ceiling_minor))
