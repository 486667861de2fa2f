import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import override

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from domain.errors import (
    AlreadyDecidedError,
    HoldStateError,
    InsufficientAvailableBalanceError,
    OwnRequestError,
    PayoutStateError,
)
from domain.payouts import DecisionKind, OperatorAction, PayoutOutcome, PayoutStatus
from tests.support import scenarios
from tests.support.fakes import Books, FakePayoutDesk
from tests.support.flows import Flow, decision_on, events_of, payout_request, until

AUTOMATIC_EVENTS_MAX = 20


def only_payout(flow: Flow) -> tuple[str, PayoutStatus]:
    ((payout_id, payout),) = flow.books.payouts.items()
    return payout_id, payout.status


class TestPayout:
    async def test_settles_by_itself_with_a_short_history(self, flow: Flow) -> None:
        handles = await scenarios.automatic(flow)

        payout = handles["payout_automatic"]
        outcome = await payout.result()
        assert outcome.status == PayoutStatus.SETTLED
        assert outcome.txid is not None
        assert len(await events_of(payout)) <= AUTOMATIC_EVENTS_MAX
        assert (flow.books.available_minor, flow.books.holds_placed) == (900, 1)

    async def test_is_refused_without_a_hold(self, flow: Flow) -> None:
        handles = await scenarios.refused(flow)

        outcome = await handles["payout_refused"].result()
        assert outcome.status == PayoutStatus.REFUSED
        assert outcome.reason_code == InsufficientAvailableBalanceError.code
        assert flow.books.holds_placed == 0

    async def test_waits_for_every_approval_it_needs(self, flow: Flow) -> None:
        flow.books.approvals_required = 2
        payout = await flow.request()
        payout_id, _ = only_payout(flow)

        await flow.decide(payout_id, "ann")
        assert await payout.query("status") == PayoutStatus.AWAITING_APPROVAL
        await flow.decide(payout_id, "ben")

        assert await payout.query("status") == PayoutStatus.READY

    async def test_counts_an_approver_once(self, flow: Flow) -> None:
        flow.books.approvals_required = 2
        await flow.request()
        payout_id, _ = only_payout(flow)
        await flow.decide(payout_id, "ann")

        with pytest.raises(AlreadyDecidedError):
            await flow.decide(payout_id, "ann")

        assert only_payout(flow)[1] == PayoutStatus.AWAITING_APPROVAL

    async def test_ends_with_one_rejection(self, flow: Flow) -> None:
        handles = await scenarios.rejected(flow)

        assert (await handles["payout_rejected"].result()).status == PayoutStatus.REJECTED
        assert flow.books.available_minor == 1_000

    async def test_ends_when_it_is_taken_back(self, flow: Flow) -> None:
        handles = await scenarios.cancelled(flow)

        assert (await handles["payout_cancelled"].result()).status == PayoutStatus.CANCELLED
        assert flow.books.available_minor == 1_000

    async def test_cannot_be_taken_back_from_a_batch(self, flow: Flow) -> None:
        await flow.request()
        payout_id, _ = only_payout(flow)
        await flow.start_batch()

        with pytest.raises(PayoutStateError):
            await flow.api.cancel(payout_id)

    async def test_expires_days_later_when_nobody_approves(self, flow: Flow) -> None:
        handles = await scenarios.expired(flow)

        payout = handles["payout_expired"]
        passed = await flow.environment.get_current_time(payout)
        assert (await payout.result()).status == PayoutStatus.EXPIRED
        ((_, frozen),) = flow.books.payouts.items()
        assert frozen.expires_at is not None
        assert passed >= frozen.expires_at
        assert flow.books.available_minor == 1_000

    async def test_that_was_approved_in_time_does_not_expire(self, flow: Flow) -> None:
        flow.books.approvals_required, flow.books.approval_lifetime = 1, timedelta(hours=1)
        payout = await flow.request()
        await flow.decide(only_payout(flow)[0], "ann")

        await flow.environment.fast_forward(payout, flow.books.approval_lifetime * 2)

        assert await payout.query("status") == PayoutStatus.READY
        assert only_payout(flow)[1] == PayoutStatus.READY

    async def test_ends_by_an_operators_refund(self, flow: Flow) -> None:
        handles = await scenarios.refunded(flow)

        assert (await handles["payout_refunded"].result()).status == PayoutStatus.REFUNDED
        assert flow.books.available_minor == 1_000

    async def test_is_not_refunded_once_it_was_signed(self, flow: Flow) -> None:
        flow.books.confirms_by_itself = False
        await flow.request()
        payout_id, _ = only_payout(flow)
        await flow.start_batch()
        await until(lambda: any(b.sent for b in flow.books.batches.values()))

        with pytest.raises(PayoutStateError):
            await flow.api.refund(OperatorAction(payout_id, "usr_operator"))

    async def test_settles_in_another_batch_after_an_operators_retry(self, flow: Flow) -> None:
        handles = await scenarios.retried(flow)

        assert (await handles["payout_retried"].result()).status == PayoutStatus.SETTLED
        assert flow.books.nonces_given == 2


class TestValidators:
    async def test_refuse_a_decision_on_ones_own_request_and_write_nothing(
        self, flow: Flow
    ) -> None:
        flow.books.approvals_required = 1
        payout = await flow.request()
        before = await events_of(payout)

        with pytest.raises(OwnRequestError):
            await flow.decide(only_payout(flow)[0], "usr_requester")

        assert await events_of(payout) == before

    @pytest.mark.parametrize("what", ["decide", "cancel", "refund", "retry"])
    async def test_refuse_everything_about_a_payout_that_has_ended(
        self, flow: Flow, what: str
    ) -> None:
        handles = await scenarios.cancelled(flow)
        payout = handles["payout_cancelled"]
        before = await events_of(payout)
        payout_id = only_payout(flow)[0]
        action = OperatorAction(payout_id, "usr_operator")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "decide": lambda: flow.decide(payout_id, "ann", DecisionKind.APPROVE),
            "cancel": lambda: flow.api.cancel(payout_id),
            "refund": lambda: flow.api.refund(action),
            "retry": lambda: flow.api.retry(action),
        }

        with pytest.raises(PayoutStateError):
            await calls[what]()

        assert await events_of(payout) == before


class TestRepeatedRequest:
    async def test_meets_the_workflow_that_runs(self, flow: Flow) -> None:
        request = payout_request()
        first, second = [await flow.api.request(request) for _ in range(2)]
        flow.payout(request.payout_id)

        assert first == second
        assert flow.books.holds_placed == 1

    async def test_meets_the_workflow_that_starts_at_the_same_time(self, flow: Flow) -> None:
        request = payout_request()
        answers = await asyncio.gather(*(flow.api.request(request) for _ in range(5)))
        flow.payout(request.payout_id)

        assert len(set(answers)) == 1
        assert flow.books.holds_placed == 1

    async def test_gets_the_first_answer_after_the_workflow_has_ended(self, flow: Flow) -> None:
        request = payout_request()
        first = await flow.api.request(request)
        handle = flow.payout(request.payout_id)
        await flow.api.cancel(request.payout_id)
        await handle.result()
        ended = await handle.describe()

        again = await flow.api.request(request)

        assert again == first
        after = await handle.describe()
        assert after.run_id == ended.run_id
        assert after.status == WorkflowExecutionStatus.COMPLETED
        assert (flow.books.holds_placed, flow.books.available_minor) == (1, 1_000)


class RefusingDesk(FakePayoutDesk):
    """Refuses each of the steps that nobody asked for, twice."""

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        self.refusals = {"expire": 2, "outcome": 2}

    @override
    async def expire(self, payout_id: str) -> PayoutOutcome:
        self._refuse("expire")
        return await super().expire(payout_id)

    @override
    async def outcome(self, payout_id: str) -> PayoutOutcome:
        self._refuse("outcome")
        return await super().outcome(payout_id)

    def _refuse(self, step: str) -> None:
        if self.refusals[step]:
            self.refusals[step] -= 1
            raise HoldStateError


class TestStepsThatAnswerNobody:
    """Nobody would ask again: a workflow that failed of them would leave the money held."""

    @pytest.mark.parametrize(
        ("scenario", "step", "ended"),
        [
            (scenarios.expired, "expire", PayoutStatus.EXPIRED),
            (scenarios.rechecked, "outcome", PayoutStatus.SETTLED),
        ],
    )
    async def test_are_tried_until_they_succeed(
        self,
        temporal: WorkflowEnvironment,
        scenario: Callable[[Flow], Awaitable[scenarios.Handles]],
        step: str,
        ended: PayoutStatus,
    ) -> None:
        flow = Flow(temporal, Books())
        flow.payout_desk = desk = RefusingDesk(flow.books)
        async with flow.working():
            (payout,) = (await scenario(flow)).values()
            outcome = await payout.result()
            await flow.clean_up()

        assert outcome.status == ended
        assert desk.refusals[step] == 0


class TestSignals:
    async def test_that_get_lost_are_made_up_for_within_an_hour(self, flow: Flow) -> None:
        handles = await scenarios.rechecked(flow)

        assert (await handles["payout_rechecked"].result()).status == PayoutStatus.SETTLED

    async def test_that_come_late_change_nothing(self, temporal: WorkflowEnvironment) -> None:
        flow = Flow(temporal, Books())
        async with flow.working():
            payout = await flow.request()
        payout_id, _ = only_payout(flow)
        for status in (PayoutStatus.SETTLED, PayoutStatus.REFUNDED):
            await payout.signal("finished", PayoutOutcome(payout_id, status))
        async with flow.working():
            outcome = await payout.result()

        assert outcome.status == PayoutStatus.SETTLED

    async def test_to_a_workflow_that_has_ended_are_passed_over(self, flow: Flow) -> None:
        handles = await scenarios.cancelled(flow)
        payout = handles["payout_cancelled"]

        await flow.notifier.payouts_finished(
            [PayoutOutcome(only_payout(flow)[0], PayoutStatus.SETTLED)]
        )

        assert (await payout.result()).status == PayoutStatus.CANCELLED


class TestRepeatedDecision:
    async def test_with_the_same_id_counts_once(self, flow: Flow) -> None:
        flow.books.approvals_required = 2
        await flow.request()
        decision = decision_on(only_payout(flow)[0], "ann")

        first, second = [await flow.api.decide(decision) for _ in range(2)]

        assert first == second
        assert first.approvals == 1
