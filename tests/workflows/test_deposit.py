"""The workflow of a deposit: it waits, books once, ends, and begins again when the chain turns."""

from datetime import timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from domain.deposits import DepositInput, DepositStatus
from domain.workflow_ids import WALLET_QUEUE, deposit_workflow_id
from tests.support import scenarios
from tests.support.crashing import CrashAfter
from tests.support.fakes import Books
from tests.support.flows import Flow, events_of, flow_on, until
from tests.support.temporal import CONTINUE_AS_NEW_AFTER_EVENTS
from workflows.deposit import DepositWorkflow


def the_deposit(flow: Flow) -> tuple[str, int, int]:
    """Return status, credits and reversals of the only deposit."""
    (deposit,) = flow.books.deposits.values()
    return deposit.status, deposit.credits, deposit.reversals


class TestDeposit:
    async def test_is_credited_when_it_is_deep_and_ends(self, flow: Flow) -> None:
        handles = await scenarios.credited(flow)
        assert the_deposit(flow) == (DepositStatus.CREDITED, 1, 0)
        described = await handles["deposit_credited"].describe()
        assert described.status == WorkflowExecutionStatus.COMPLETED

    async def test_waits_while_nothing_is_said(self, flow: Flow) -> None:
        deposit = await flow.arrive()
        run = await flow.deposit_run(deposit)
        for _ in range(3):
            looks = deposit.looks
            await flow.notifier.deposits_moved([deposit.id])
            await until(lambda looks=looks: deposit.looks > looks)
        assert (await run.describe()).status == WorkflowExecutionStatus.RUNNING
        assert the_deposit(flow) == (DepositStatus.CONFIRMING, 0, 0)

    async def test_that_is_deep_at_once_needs_one_look(self, flow: Flow) -> None:
        """After a long absence it is found deep enough; the starting signal changes nothing."""
        deposit = await flow.arrive()
        deposit.is_deep = True
        await flow.notifier.deposits_moved([deposit.id])
        await (await flow.deposit_run(deposit)).result()
        assert the_deposit(flow) == (DepositStatus.CREDITED, 1, 0)

    async def test_that_is_lost_before_it_was_credited_ends(self, flow: Flow) -> None:
        await scenarios.forgotten(flow)
        assert the_deposit(flow) == (DepositStatus.FORGOTTEN, 0, 0)

    async def test_looks_by_itself_when_a_signal_was_lost(self, flow: Flow) -> None:
        handles = await scenarios.deposit_rechecked(flow)
        assert the_deposit(flow) == (DepositStatus.CREDITED, 1, 0)
        assert "TIMER_FIRED" in await events_of(handles["deposit_rechecked"])

    async def test_does_not_look_before_an_hour_is_over(self, flow: Flow) -> None:
        deposit = await flow.arrive()
        run = await flow.deposit_run(deposit)
        await until(lambda: deposit.looks > 0)
        looks = deposit.looks
        await flow.environment.fast_forward(run, timedelta(minutes=30))
        assert deposit.looks == looks
        await flow.environment.fast_forward(run, timedelta(minutes=31))
        await until(lambda: deposit.looks > looks)


class TestReversal:
    async def test_after_the_end_is_another_run_under_the_same_id(self, flow: Flow) -> None:
        handles = await scenarios.reversed_later(flow)
        (deposit,) = flow.books.deposits.values()
        assert the_deposit(flow) == (DepositStatus.REVERSED, 1, 1)
        run = handles["deposit_reversed"]
        assert run.id == deposit_workflow_id(deposit.id)
        history = await events_of(run)
        assert history[0] == "WORKFLOW_EXECUTION_STARTED"
        assert history[-1] == "WORKFLOW_EXECUTION_COMPLETED"

    async def test_and_return_credits_again(self, flow: Flow) -> None:
        await scenarios.reversed_later(flow)
        (deposit,) = flow.books.deposits.values()
        deposit.is_missing, deposit.status = False, DepositStatus.CONFIRMING
        await flow.notifier.deposits_moved([deposit.id])
        await (await flow.deposit_run(deposit)).result()
        assert the_deposit(flow) == (DepositStatus.CREDITED, 2, 1)

    async def test_told_many_times_at_once_happens_once(self, flow: Flow) -> None:
        await scenarios.credited(flow)
        (deposit,) = flow.books.deposits.values()
        deposit.is_missing = True
        await flow.notifier.deposits_moved([deposit.id] * 12)
        await (await flow.deposit_run(deposit)).result()
        assert the_deposit(flow) == (DepositStatus.REVERSED, 1, 1)

    async def test_with_a_lost_answer_happens_once(self, temporal: WorkflowEnvironment) -> None:
        crash = CrashAfter("deposit.advance")
        async with flow_on(temporal, Books()) as flow:
            await scenarios.credited(flow)
        async with flow_on(temporal, flow.books, crash) as again:
            (deposit,) = again.books.deposits.values()
            deposit.is_missing = True
            await again.notifier.deposits_moved([deposit.id])
            await (await again.deposit_run(deposit)).result()
        assert crash.crashes == 1
        assert the_deposit(again) == (DepositStatus.REVERSED, 1, 1)


class TestHistory:
    async def test_that_is_long_goes_on_in_another(self, flow: Flow) -> None:
        deposit = await flow.arrive()
        run = await flow.deposit_run(deposit)
        for _ in range(CONTINUE_AS_NEW_AFTER_EVENTS):
            looks = deposit.looks
            await flow.notifier.deposits_moved([deposit.id])
            await until(lambda looks=looks: deposit.looks > looks)
            if (await flow.deposit_run(deposit)).run_id != run.run_id:
                break
        assert (await events_of(run))[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
        deposit.is_deep = True
        await flow.notifier.deposits_moved([deposit.id])
        await (await flow.deposit_run(deposit)).result()
        assert the_deposit(flow) == (DepositStatus.CREDITED, 1, 0)


@pytest.mark.parametrize("signals", [0, 1])
async def test_a_run_without_the_starting_signal_works_as_well(flow: Flow, signals: int) -> None:
    deposit = await flow.arrive()
    await flow.client.get_workflow_handle(deposit_workflow_id(deposit.id)).terminate("an accident")
    handle = await flow.client.start_workflow(
        DepositWorkflow.run,
        DepositInput(deposit.id),
        id=deposit_workflow_id(deposit.id),
        task_queue=WALLET_QUEUE,
    )
    flow.started.append(handle)
    deposit.is_deep = True
    for _ in range(signals):
        await flow.notifier.deposits_moved([deposit.id])
    if not signals:
        await flow.environment.fast_forward(handle, timedelta(minutes=61))
    await handle.result()
    assert the_deposit(flow) == (DepositStatus.CREDITED, 1, 0)
