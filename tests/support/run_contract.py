"""The contract of ``domain.ports.RunDesk``: the desk on PostgreSQL and its fake both keep it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

import pytest

from domain.errors import (
    AlreadyDecidedError,
    ApprovalExpiredError,
    InvalidLinesError,
    OwnRequestError,
    PayoutRunNotFoundError,
    PayoutRunStateError,
    RoleMissingError,
    StrongroomError,
)
from domain.ids import DECISION, new_id
from domain.payouts import DecisionKind
from domain.ports import RunDesk
from domain.runs import RunCancellation, RunDecisionRequest, RunStanding, RunStart, RunStatus

AMOUNTS = (100, 200, 300, 400)
"""Of lines 2 to 5."""
FUNDS_MINOR = 10_000
LIFETIME = timedelta(hours=1)
NOBODYS = "run_nobodys"


class RunWorld(Protocol):
    """A desk, and what happens around it. Lines are numbered from 2."""

    @property
    def desk(self) -> RunDesk: ...

    requester: str
    approvers: tuple[str, str, str]
    stranger: str
    """A user who is no approver."""
    fee_minor: int
    """What each line's hold includes beside its amount."""

    async def upload(self, *amounts_minor: int) -> str:
        """Store a draft and return its id."""
        ...

    async def ask_for(self, approvals: int) -> None:
        """Let the policy ask for so many, within ``LIFETIME``."""
        ...

    async def available_minor(self) -> int:
        """Return what the requester has left of ``FUNDS_MINOR``."""
        ...

    async def fund(self, amount_minor: int) -> None: ...

    async def batch(self) -> str:
        """Take what is ready into a batch."""
        ...

    async def put_back(self, batch_id: str) -> None:
        """Take a batch's payouts out of it again: they are ready."""
        ...

    async def settle(self, batch_id: str) -> None:
        """Pay a batch and confirm it."""
        ...

    def wait(self, step: timedelta) -> None: ...


class RunDeskContract[World: RunWorld]:
    """Subclass it and give a fixture ``world``."""

    async def started(self, world: World, *, approvals: int = 0) -> str:
        await world.ask_for(approvals)
        run_id = await world.upload(*AMOUNTS)
        acceptance = await world.desk.start(RunStart(run_id, world.requester, "key"))
        assert acceptance.reason_code is None, acceptance.reason
        return run_id

    async def test_holds_everything_once(self, world: World) -> None:
        run_id = await world.upload(*AMOUNTS)
        first = await world.desk.start(RunStart(run_id, world.requester, "key"))
        again = await world.desk.start(RunStart(run_id, world.requester, "another key"))

        assert first == again
        assert (first.status, first.idempotency_key) == (RunStatus.PAYING, "key")
        assert (first.approvals_required, first.approval_expires_at) == (0, None)
        assert await world.available_minor() == left_after(world, AMOUNTS)
        standing = await world.desk.advance(run_id)
        assert standing == RunStanding(run_id, RunStatus.PAYING, {"ready": 4})

    async def test_refuses_what_the_balance_does_not_cover(self, world: World) -> None:
        run_id = await world.upload(FUNDS_MINOR, FUNDS_MINOR)
        refused = await world.desk.start(RunStart(run_id, world.requester, "key"))
        await world.fund(FUNDS_MINOR * 2)
        accepted = await world.desk.start(RunStart(run_id, world.requester, "another key"))

        assert (refused.status, refused.reason_code) == (
            RunStatus.DRAFT,
            "insufficient_available_balance",
        )
        assert refused.reason
        assert refused.idempotency_key is None
        assert (accepted.status, accepted.reason_code) == (RunStatus.PAYING, None)
        assert accepted.idempotency_key == "another key"

    async def test_refuses_to_start_what_is_not_there(self, world: World) -> None:
        refused = await world.desk.start(RunStart(NOBODYS, world.requester, "key"))

        assert (refused.status, refused.reason_code) == (RunStatus.DRAFT, "payout_run_not_found")

    async def test_leaves_a_draft_alone(self, world: World) -> None:
        run_id = await world.upload(*AMOUNTS)
        draft = RunStanding(run_id, RunStatus.DRAFT)

        assert await world.desk.advance(run_id) == draft
        assert await world.desk.expire(run_id) == draft
        assert await world.desk.cancel(RunCancellation("act", run_id)) == draft

    async def test_says_how_many_approvals_it_needs_and_until_when(self, world: World) -> None:
        await world.ask_for(2)
        run_id = await world.upload(*AMOUNTS)
        accepted = await world.desk.start(RunStart(run_id, world.requester, "key"))
        world.wait(LIFETIME)

        assert (accepted.status, accepted.approvals_required) == (RunStatus.AWAITING_APPROVAL, 2)
        assert accepted.approval_expires_at is not None
        overdue = await world.desk.expire(run_id)
        assert overdue == RunStanding(run_id, RunStatus.FINISHED, {"expired": 4})

    async def test_moves_every_line_on_with_the_last_approval(self, world: World) -> None:
        run_id = await self.started(world, approvals=2)
        first, second, _ = world.approvers
        one = await world.desk.decide(decision(run_id, first))
        two = await world.desk.decide(decision(run_id, second))

        assert one == RunStanding(run_id, RunStatus.AWAITING_APPROVAL, {"awaiting_approval": 4})
        assert two == RunStanding(run_id, RunStatus.PAYING, {"ready": 4})

    async def test_moves_chosen_lines_on_alone(self, world: World) -> None:
        run_id = await self.started(world, approvals=2)
        first, second, third = world.approvers
        await world.desk.decide(decision(run_id, first, lines="2-3"))
        some = await world.desk.decide(decision(run_id, second, lines="3-4"))
        rejection = decision(run_id, third, lines="5", kind=DecisionKind.REJECT)
        fewer = await world.desk.decide(rejection)
        # Of all lines, which makes the second approval of 2 and 4.
        rest = await world.desk.decide(decision(run_id, third))

        assert some.lines == {"awaiting_approval": 3, "ready": 1}
        assert fewer.lines == {"awaiting_approval": 2, "ready": 1, "rejected": 1}
        assert rest == RunStanding(run_id, RunStatus.PAYING, {"ready": 3, "rejected": 1})
        assert await world.available_minor() == left_after(world, AMOUNTS[:3])

    async def test_gives_everything_back_with_a_rejection(self, world: World) -> None:
        run_id = await self.started(world, approvals=1)
        rejection = decision(run_id, world.approvers[0], kind=DecisionKind.REJECT)

        for _ in range(2):
            standing = await world.desk.decide(rejection)
            assert standing == RunStanding(run_id, RunStatus.FINISHED, {"rejected": 4})
        assert await world.available_minor() == FUNDS_MINOR

    async def test_counts_a_repeated_decision_once(self, world: World) -> None:
        run_id = await self.started(world, approvals=2)
        same = decision(run_id, world.approvers[0])
        first, again = [await world.desk.decide(same) for _ in range(2)]

        assert first == again
        assert first.lines == {"awaiting_approval": 4}

    async def test_refuses_decisions_that_do_not_count(self, world: World) -> None:
        run_id = await self.started(world, approvals=2)
        first, second, _ = world.approvers
        await world.desk.decide(decision(run_id, first, lines="2-3"))
        refusals: dict[type[StrongroomError], RunDecisionRequest] = {
            OwnRequestError: decision(run_id, world.requester),
            RoleMissingError: decision(run_id, world.stranger),
            AlreadyDecidedError: decision(run_id, first, lines="3"),
            PayoutRunStateError: decision(run_id, second, lines="5-6"),
            InvalidLinesError: decision(run_id, second, lines="5-2"),
            PayoutRunNotFoundError: decision(NOBODYS, second),
        }

        for error, refused in refusals.items():
            with pytest.raises(error):
                await world.desk.decide(refused)
        standing = await world.desk.advance(run_id)
        assert standing.lines == {"awaiting_approval": 4}

    async def test_refuses_decisions_after_the_last_line_was_decided_on(self, world: World) -> None:
        run_id = await self.started(world, approvals=1)
        first, second, _ = world.approvers
        await world.desk.decide(decision(run_id, first))

        with pytest.raises(PayoutRunStateError):
            await world.desk.decide(decision(run_id, second, kind=DecisionKind.REJECT))
        assert (await world.desk.advance(run_id)).lines == {"ready": 4}

    async def test_lets_only_overdue_lines_expire(self, world: World) -> None:
        run_id = await self.started(world, approvals=1)
        await world.desk.decide(decision(run_id, world.approvers[0], lines="2"))
        await world.batch()
        world.wait(LIFETIME - timedelta(seconds=1))
        early = await world.desk.expire(run_id)
        world.wait(timedelta(seconds=1))
        with pytest.raises(ApprovalExpiredError):
            await world.desk.decide(decision(run_id, world.approvers[1]))

        assert early.status == RunStatus.AWAITING_APPROVAL
        for _ in range(2):
            late = await world.desk.expire(run_id)
            assert late == RunStanding(run_id, RunStatus.PAYING, {"batched": 1, "expired": 3})
        assert await world.available_minor() == left_after(world, AMOUNTS[:1])

    async def test_takes_everything_back_that_no_batch_has(self, world: World) -> None:
        run_id = await self.started(world)

        for _ in range(2):
            standing = await world.desk.cancel(RunCancellation("act", run_id))
            assert standing == RunStanding(run_id, RunStatus.FINISHED, {"cancelled": 4})
        assert await world.available_minor() == FUNDS_MINOR

    async def test_takes_chosen_lines_back_all_or_none(self, world: World) -> None:
        run_id = await self.started(world)
        for _ in range(2):
            some = await world.desk.cancel(RunCancellation("act", run_id, "2,5"))
            assert some.lines == {"ready": 2, "cancelled": 2}
        with pytest.raises(PayoutRunStateError):
            await world.desk.cancel(RunCancellation("other", run_id, "4-5"))
        await world.batch()
        with pytest.raises(PayoutRunStateError):
            await world.desk.cancel(RunCancellation("third", run_id, "3"))
        with pytest.raises(InvalidLinesError):
            await world.desk.cancel(RunCancellation("fourth", run_id, "x"))

        standing = await world.desk.cancel(RunCancellation("fifth", run_id))
        assert standing == RunStanding(run_id, RunStatus.PAYING, {"batched": 2, "cancelled": 2})

    async def test_takes_back_by_one_cancellation_only_once(self, world: World) -> None:
        run_id = await self.started(world, approvals=1)
        await world.desk.decide(decision(run_id, world.approvers[0], lines="2-3"))
        batch_id = await world.batch()
        same = RunCancellation("act", run_id)
        first = await world.desk.cancel(same)
        await world.put_back(batch_id)

        assert first.lines == {"batched": 2, "cancelled": 2}
        assert (await world.desk.cancel(same)).lines == {"ready": 2, "cancelled": 2}
        another = await world.desk.cancel(RunCancellation("another", run_id))
        assert another == RunStanding(run_id, RunStatus.FINISHED, {"cancelled": 4})

    async def test_finishes_with_the_last_line(self, world: World) -> None:
        run_id = await self.started(world, approvals=1)
        await world.desk.decide(decision(run_id, world.approvers[0], lines="2-3"))
        await world.settle(await world.batch())
        half = await world.desk.advance(run_id)
        await world.desk.decide(decision(run_id, world.approvers[1], lines="4-5"))
        on_its_way = await world.desk.advance(run_id)
        await world.settle(await world.batch())

        assert half.lines == {"awaiting_approval": 2, "settled": 2}
        assert (half.status, on_its_way.status) == (RunStatus.AWAITING_APPROVAL, RunStatus.PAYING)
        for _ in range(2):
            standing = await world.desk.advance(run_id)
            assert standing == RunStanding(run_id, RunStatus.FINISHED, {"settled": 4})

    async def test_knows_nothing_of_what_is_not_there(self, world: World) -> None:
        steps: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: world.desk.cancel(RunCancellation("act", NOBODYS)),
            lambda: world.desk.expire(NOBODYS),
            lambda: world.desk.advance(NOBODYS),
        )
        for step in steps:
            with pytest.raises(PayoutRunNotFoundError):
                await step()


def decision(
    run_id: str,
    approver_id: str,
    *,
    lines: str | None = None,
    kind: DecisionKind = DecisionKind.APPROVE,
) -> RunDecisionRequest:
    return RunDecisionRequest(new_id(DECISION), run_id, approver_id, kind, "totp", lines)


def left_after(world: RunWorld, amounts_minor: tuple[int, ...]) -> int:
    return FUNDS_MINOR - sum(amounts_minor) - world.fee_minor * len(amounts_minor)
