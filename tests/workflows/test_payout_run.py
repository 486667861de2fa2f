"""Bulk payouts: one workflow over many lines, which are payouts without workflows of their own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.errors import (
    AlreadyDecidedError,
    OwnRequestError,
    PayoutRunStateError,
    PayoutStateError,
)
from domain.ids import new_id
from domain.payouts import PayoutStatus
from domain.runs import (
    RunAcceptance,
    RunCancellation,
    RunStanding,
    RunStatus,
)
from tests.support import scenarios
from tests.support.fake_runs import CrossingDesk, FailingDesk, FakeRunDesk, SlowDesk, upload
from tests.support.fakes import Books, FakeRun
from tests.support.flows import (
    Flow,
    events_of,
    operator_on,
    run_decision,
    until,
)
from tests.support.temporal import CONTINUE_AS_NEW_AFTER_EVENTS
from workflows.payout_run import OVERDUE_RETRY, PayoutRunWorkflow

EVENTS_PER_BATCH_MAX = 12
"""What being told of one settled batch adds to a history: signal, step, and their tasks."""

LIFETIME = timedelta(minutes=30)


def statuses(run: FakeRun) -> list[str]:
    return [line.status.value for line in run.lines.values()]


def only_run(flow: Flow) -> FakeRun:
    (run,) = flow.books.runs.values()
    return run


async def has_accepted(flow: Flow, run: FakeRun, *, updates: int) -> bool:
    """Tell whether the run's newest execution has taken so many updates on."""
    events = await events_of(flow.run(run))
    return events.count("WORKFLOW_EXECUTION_UPDATE_ACCEPTED") == updates


@asynccontextmanager
async def flow_with[Desk: FakeRunDesk](
    environment: WorkflowEnvironment, books: Books, kind: type[Desk]
) -> AsyncIterator[tuple[Flow, Desk]]:
    """Yield running workers over these books, with another desk for bulk payouts."""
    flow, desk = Flow(environment, books), kind(books)
    flow.run_desk = desk
    async with flow.working():
        try:
            yield flow, desk
        finally:
            await flow.clean_up()


async def details_of(flow: Flow, run: FakeRun) -> str:
    """Return what people read about the run's workflow."""
    return str(await flow.run(run).query("__temporal_workflow_metadata"))


class TestStart:
    async def test_holds_the_total_once_and_answers(self, flow: Flow) -> None:
        run = upload(flow.books, 100, 200)
        answers = [await flow.start_run(run) for _ in range(2)]

        assert answers == [RunAcceptance(run.id, RunStatus.PAYING, "key")] * 2
        assert (flow.books.available_minor, flow.books.holds_placed) == (700, 1)

    async def test_by_many_at_once_holds_once(self, flow: Flow) -> None:
        run = upload(flow.books, 100, 200)
        answers = await asyncio.gather(*(flow.start_run(run, key=f"key {n}") for n in range(5)))

        assert len({answer.idempotency_key for answer in answers}) == 1
        assert flow.books.holds_placed == 1

    async def test_that_is_refused_holds_nothing_and_may_be_tried_again(self, flow: Flow) -> None:
        handles = await scenarios.run_refused(flow)

        refused = await handles["run_refused"].result()
        assert refused == RunStanding(only_run(flow).id, RunStatus.DRAFT)
        started = await handles["run_started_again"].result()
        assert started.lines == {"settled": 2}
        assert (flow.books.available_minor, flow.books.holds_placed) == (0, 1)

    async def test_that_is_refused_answers_its_own_key_the_same_again(self, flow: Flow) -> None:
        run = upload(flow.books, flow.books.available_minor + 1)
        first = await flow.start_run(run)
        await (await flow.execution_of(run)).result()
        again = await flow.start_run(run)

        assert first == again
        assert first.reason_code == "insufficient_available_balance"
        assert flow.books.run_steps == ["start"]


class TestPaying:
    async def test_ends_with_the_last_of_several_batches(self, flow: Flow) -> None:
        handles = await scenarios.run_paid(flow)

        standing = await handles["run_paid"].result()
        assert (standing.status, standing.lines) == (RunStatus.FINISHED, {"settled": 5})
        assert len(flow.books.batches) == 3
        # Once at first, and once for each batch.
        assert flow.books.run_steps == ["start", *["advance"] * 4]
        assert len(await events_of(handles["run_paid"])) <= 25 + 3 * EVENTS_PER_BATCH_MAX

    async def test_shares_batches_with_single_payouts(self, flow: Flow) -> None:
        run = await flow.run_of(10, 20)
        payout = await flow.request("30")
        await flow.start_batcher()
        await flow.start_watcher()

        assert (await payout.result()).status == PayoutStatus.SETTLED
        assert (await flow.run(run).result()).lines == {"settled": 2}
        assert all(p.is_told for p in flow.books.payouts.values())

    async def test_finds_out_by_itself_when_a_signal_is_lost(self, flow: Flow) -> None:
        handles = await scenarios.run_rechecked(flow)

        assert (await handles["run_rechecked"].result()).lines == {"settled": 1}

    async def test_goes_on_after_a_signal_that_told_nothing_new(self, flow: Flow) -> None:
        run = await flow.run_of(10)
        for told in range(1, 4):
            await flow.notifier.runs_moved([run.id])
            await until(lambda told=told: flow.books.run_steps.count("advance") > told)

        standing = await flow.run(run).query(PayoutRunWorkflow.standing)
        assert standing == RunStanding(run.id, RunStatus.PAYING, {"ready": 1})
        await flow.cancel_run(run)
        assert (await flow.run(run).result()).lines == {"cancelled": 1}

    async def test_passes_over_signals_after_its_end(self, flow: Flow) -> None:
        await scenarios.run_cancelled(flow)

        await flow.notifier.runs_moved([only_run(flow).id])

        assert (await flow.run(only_run(flow)).result()).status == RunStatus.FINISHED

    async def test_shows_where_it_stands(self, flow: Flow) -> None:
        flow.books.approvals_required = 1
        run = await flow.run_of(10, 20)
        await flow.decide_run(run, "ann", lines="2")

        standing = await flow.run(run).query(PayoutRunWorkflow.standing)
        counts = {"awaiting_approval": 1, "ready": 1}
        assert standing == RunStanding(run.id, RunStatus.AWAITING_APPROVAL, counts)
        shown = await details_of(flow, run)
        assert f"**awaiting_approval** · run {run.id}: 1 awaiting_approval, 1 ready" in shown

    async def test_shows_why_it_was_refused(self, flow: Flow) -> None:
        run = upload(flow.books, flow.books.available_minor + 1)
        await flow.start_run(run)

        shown = await details_of(flow, run)
        assert f"**draft** · run {run.id}: insufficient_available_balance" in shown


class TestDecision:
    async def test_of_enough_people_moves_everything_on(self, flow: Flow) -> None:
        handles = await scenarios.run_approved(flow)

        assert (await handles["run_approved"].result()).lines == {"settled": 3}

    async def test_on_chosen_lines_lets_them_go_ahead(self, flow: Flow) -> None:
        handles = await scenarios.run_approved_by_lines(flow)

        standing = await handles["run_approved_by_lines"].result()
        assert standing.lines == {"settled": 2, "rejected": 1}
        assert flow.books.available_minor == 1_000 - 10 - 20

    async def test_against_it_ends_it(self, flow: Flow) -> None:
        handles = await scenarios.run_rejected(flow)

        assert (await handles["run_rejected"].result()).lines == {"rejected": 2}
        assert flow.books.available_minor == 1_000

    async def test_repeated_with_the_same_id_counts_once(self, flow: Flow) -> None:
        flow.books.approvals_required = 2
        run = await flow.run_of(10)
        decision = run_decision(run, "ann")
        first, second = [await flow.runs.decide(decision) for _ in range(2)]

        assert first == second
        assert first.lines == {"awaiting_approval": 1}
        assert len(run.decisions) == 1

    async def test_that_does_not_count_is_refused_by_its_code(self, flow: Flow) -> None:
        flow.books.approvals_required = 2
        run = await flow.run_of(10, 20)
        await flow.decide_run(run, "ann", lines="2")

        with pytest.raises(AlreadyDecidedError):
            await flow.decide_run(run, "ann", lines="2-3")
        with pytest.raises(OwnRequestError):
            await flow.decide_run(run, "usr_requester")
        with pytest.raises(PayoutRunStateError):
            await flow.decide_run(run, "ben", lines="4")
        assert statuses(run) == ["awaiting_approval"] * 2
        assert len(run.decisions) == 1

    async def test_on_what_nobody_decides_on_is_refused(self, flow: Flow) -> None:
        run = await flow.run_of(10)

        with pytest.raises(PayoutRunStateError):
            await flow.decide_run(run, "ann")
        assert statuses(run) == ["ready"]

    async def test_that_comes_before_the_hold_waits_for_it(
        self, temporal: WorkflowEnvironment
    ) -> None:
        async with flow_with(temporal, Books(approvals_required=1), SlowDesk) as (flow, desk):
            run = upload(flow.books, 10)
            starting = asyncio.create_task(flow.start_run(run))
            await desk.begun.wait()
            deciding = asyncio.create_task(flow.decide_run(run, "ann"))
            await until(lambda: has_accepted(flow, run, updates=2))
            assert flow.books.run_steps == ["start"]
            desk.may_answer.set()
            standing, accepted = await deciding, await starting

        assert accepted.status == RunStatus.AWAITING_APPROVAL
        assert standing.lines == {"ready": 1}

    async def test_that_comes_before_a_refusal_is_refused_too(
        self, temporal: WorkflowEnvironment
    ) -> None:
        async with flow_with(temporal, Books(available_minor=5), SlowDesk) as (flow, desk):
            run = upload(flow.books, 10)
            starting = asyncio.create_task(flow.start_run(run))
            await desk.begun.wait()
            deciding = asyncio.create_task(flow.decide_run(run, "ann"))
            cancelling = asyncio.create_task(flow.cancel_run(run))
            await until(lambda: has_accepted(flow, run, updates=3))
            desk.may_answer.set()
            answers = await asyncio.gather(starting, deciding, cancelling, return_exceptions=True)
            standing = await flow.run(run).result()

        assert isinstance(answers[0], RunAcceptance)
        assert isinstance(answers[1], PayoutRunStateError)
        assert isinstance(answers[2], PayoutRunStateError)
        assert standing.status == RunStatus.DRAFT
        assert flow.books.run_steps == ["start"]


class TestCancellation:
    async def test_of_chosen_lines_and_of_the_rest(self, flow: Flow) -> None:
        handles = await scenarios.run_cancelled(flow)

        assert (await handles["run_cancelled"].result()).lines == {"cancelled": 3}
        assert flow.books.available_minor == 1_000

    async def test_leaves_what_a_batch_has(self, flow: Flow) -> None:
        flow.books.batch_size, flow.books.confirms_by_itself = 1, False
        run = await flow.run_of(10, 20)
        batch = await flow.start_batch()
        await until(lambda: any(b.sent for b in flow.books.batches.values()))
        with pytest.raises(PayoutRunStateError):
            await flow.cancel_run(run, lines="2")
        standing = await flow.cancel_run(run)
        await flow.confirm()
        await batch.result()

        assert standing.lines == {"batched": 1, "cancelled": 1}
        assert (await flow.run(run).result()).lines == {"settled": 1, "cancelled": 1}

    async def test_repeated_answers_the_same(self, flow: Flow) -> None:
        run = await flow.run_of(10, 20)
        cancellation = RunCancellation(new_id("act"), run.id, "2")
        first, second = [await flow.runs.cancel(cancellation) for _ in range(2)]

        assert first == second
        assert first.lines == {"cancelled": 1, "ready": 1}
        assert flow.books.available_minor == 1_000 - 20


class TestEnded:
    @pytest.mark.parametrize("what", ["decide", "cancel", "refund", "retry"])
    async def test_refuses_everything(self, flow: Flow, what: str) -> None:
        handles = await scenarios.run_cancelled(flow)
        run, before = only_run(flow), await events_of(handles["run_cancelled"])
        steps = list(flow.books.run_steps)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "decide": lambda: flow.decide_run(run, "ann"),
            "cancel": lambda: flow.cancel_run(run),
            "refund": lambda: flow.api.refund(operator_on(run, 2)),
            "retry": lambda: flow.api.retry(operator_on(run, 2)),
        }
        is_operators = what in {"refund", "retry"}

        with pytest.raises(PayoutStateError if is_operators else PayoutRunStateError):
            await calls[what]()

        assert await events_of(handles["run_cancelled"]) == before
        assert flow.books.run_steps == steps

    async def test_is_what_an_unknown_run_looks_like(self, flow: Flow) -> None:
        unknown = FakeRun("run_nobodys", {})

        with pytest.raises(PayoutRunStateError):
            await flow.decide_run(unknown, "ann")
        with pytest.raises(PayoutRunStateError):
            await flow.cancel_run(unknown)


class TestOperator:
    async def test_refunds_one_line_and_retries_another(self, flow: Flow) -> None:
        handles = await scenarios.run_mended(flow)

        assert (await handles["run_mended"].result()).lines == {"refunded": 1, "settled": 1}
        assert flow.books.available_minor == 1_000 - 20

    async def test_ends_the_run_with_the_last_refund(self, flow: Flow) -> None:
        flow.books.refuses_to_sign, flow.books.confirms_by_itself = True, False
        run = await flow.run_of(10)
        batch = await flow.start_batch()
        await until(lambda: any(b.is_filler and b.sent for b in flow.books.batches.values()))
        outcome = await flow.api.refund(operator_on(run, 2))

        assert (outcome.status, outcome.run_id) == (PayoutStatus.REFUNDED, run.id)
        assert (await flow.run(run).result()).lines == {"refunded": 1}
        await flow.confirm()
        await batch.result()

    @pytest.mark.parametrize("what", ["refund", "retry"])
    async def test_is_refused_for_a_line_that_was_signed(self, flow: Flow, what: str) -> None:
        flow.books.confirms_by_itself = False
        run = await flow.run_of(10)
        await flow.start_batch()
        await until(lambda: any(b.sent for b in flow.books.batches.values()))
        call = flow.api.refund if what == "refund" else flow.api.retry

        with pytest.raises(PayoutStateError):
            await call(operator_on(run, 2))
        assert statuses(run) == ["batched"]


class TestExpiry:
    async def test_gives_back_what_nobody_decided_on_while_the_rest_is_paid(
        self, flow: Flow
    ) -> None:
        handles = await scenarios.run_expired(flow)

        standing = await handles["run_expired"].result()
        assert standing.lines == {"settled": 1, "expired": 2}
        assert flow.books.available_minor == 1_000 - 10
        assert flow.books.run_steps.count("expire") == 1

    async def test_ends_a_run_that_nobody_decided_on(self, flow: Flow) -> None:
        flow.books.approvals_required, flow.books.approval_lifetime = 1, LIFETIME
        run = await flow.run_of(10)
        flow.books.clock.advance(LIFETIME)
        await flow.environment.fast_forward(flow.run(run), LIFETIME * 2)

        assert (await flow.run(run).result()).lines == {"expired": 1}

    async def test_does_not_touch_what_was_approved_in_time(self, flow: Flow) -> None:
        flow.books.approvals_required, flow.books.approval_lifetime = 1, LIFETIME
        run = await flow.run_of(10)
        await flow.decide_run(run, "ann")
        flow.books.clock.advance(LIFETIME)
        await flow.environment.fast_forward(flow.run(run), LIFETIME * 1.5)

        assert statuses(run) == ["ready"]
        assert "expire" not in flow.books.run_steps

    async def test_is_not_asked_for_all_the_time_while_the_books_clock_is_behind(
        self, flow: Flow
    ) -> None:
        flow.books.approvals_required, flow.books.approval_lifetime = 1, LIFETIME
        run = await flow.run_of(10)
        late = timedelta(minutes=6)
        await flow.environment.fast_forward(flow.run(run), LIFETIME + late)
        asked = flow.books.run_steps.count("expire")
        flow.books.clock.advance(LIFETIME)
        await flow.environment.fast_forward(flow.run(run), OVERDUE_RETRY * 2)

        assert 2 <= asked <= late / OVERDUE_RETRY + 2
        assert (await flow.run(run).result()).lines == {"expired": 1}

    async def test_is_tried_again_when_the_books_refuse_it(
        self, temporal: WorkflowEnvironment
    ) -> None:
        # Nobody asked for it, so nobody would: the run's workflow must not fail of it.
        async with flow_with(
            temporal, Books(approvals_required=1, approval_lifetime=timedelta(0)), FailingDesk
        ) as (flow, desk):
            run = await flow.run_of(10)
            standing = await flow.run(run).result()

        assert standing.lines == {"expired": 1}
        assert desk.refusals == {"expire": 0, "advance": 0}


class TestRenewal:
    async def test_keeps_histories_short_and_loses_nothing(self, flow: Flow) -> None:
        handles = await scenarios.run_for_long(flow)

        first = await events_of(handles["run_renewed"])
        assert first[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
        assert len(first) <= CONTINUE_AS_NEW_AFTER_EVENTS + 2 * EVENTS_PER_BATCH_MAX
        assert (await handles["run_for_long"].result()).lines == {"settled": 2}
        assert flow.books.holds_placed == 1

    async def test_answers_everybody_amid_many_signals(self, flow: Flow) -> None:
        flow.books.approvals_required = 1
        run = await flow.run_of(*[1] * 30)
        first = (await flow.execution_of(run)).run_id

        async def tell() -> None:
            for _ in range(60):
                await flow.notifier.runs_moved([run.id])

        async def decide() -> list[RunStanding]:
            return [await flow.decide_run(run, "ann", lines=str(number)) for number in run.lines]

        answers, _ = await asyncio.gather(decide(), tell())

        assert [answer.lines["ready"] for answer in answers] == list(range(1, 31))
        assert (await flow.execution_of(run)).run_id != first
        assert len(run.decisions) == 30
        await flow.cancel_run(run)
        assert (await flow.run(run).result()).lines == {"cancelled": 30}

    async def test_lets_a_decision_wait_that_comes_first_in_a_new_history(
        self, temporal: WorkflowEnvironment
    ) -> None:
        async with flow_with(temporal, Books(approvals_required=1), SlowDesk) as (flow, desk):
            desk.may_answer.set()
            run = await flow.run_of(10)
            desk.begun.clear()
            desk.may_answer.clear()

            async def has_begun_anew() -> bool:
                await flow.notifier.runs_moved([run.id])
                return desk.begun.is_set()

            await until(has_begun_anew)
            deciding = asyncio.create_task(flow.decide_run(run, "ann"))
            await until(lambda: has_accepted(flow, run, updates=1))
            desk.may_answer.set()
            standing = await deciding

        assert standing.lines == {"ready": 1}
        assert flow.books.holds_placed == 1


class TestCrossingAnswers:
    async def test_do_not_hide_that_the_run_has_ended(self, temporal: WorkflowEnvironment) -> None:
        """The count of lines is taken before a cancellation and arrives after it."""
        async with flow_with(temporal, Books(), CrossingDesk) as (flow, desk):
            run = await flow.run_of(10, 20)
            await desk.counted.wait()
            standing = await flow.cancel_run(run)
            desk.may_answer.set()
            async with asyncio.timeout(10):
                ended = await flow.run(run).result()

        assert standing.status == RunStatus.FINISHED
        assert ended == replace(standing, lines={"cancelled": 2})


async def test_refused_requests_do_not_grow_a_history_without_end(flow: Flow) -> None:
    """Each asks to take back a line that is not there; the server ends a run of 51,200 events."""
    run = await flow.run_of(10)
    first = await flow.execution_of(run)
    for _ in range(CONTINUE_AS_NEW_AFTER_EVENTS // 2):
        with pytest.raises(PayoutRunStateError):
            await flow.cancel_run(run, lines="99")
    events = await events_of(first)
    assert events[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW", len(events)
