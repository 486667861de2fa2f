"""The workflow that sweeps a chain: by schedule, at once when told, each sweep driven once."""

from datetime import timedelta

from temporalio.testing import WorkflowEnvironment

from domain.workflow_ids import chain_transaction_workflow_id
from tests.support import scenarios
from tests.support.crashing import CrashAfter
from tests.support.fakes import Books
from tests.support.flows import Flow, events_of, flow_on, until
from workflows.sweep import SweepWorkflow


class TestSweeps:
    async def test_are_planned_at_the_interval_and_when_told(self, flow: Flow) -> None:
        await scenarios.swept(flow)
        assert flow.books.sweep_plans == [False, False, True]
        assert len(flow.books.batches) == flow.books.nonces_given == 2

    async def test_of_the_schedule_are_driven_too(self, flow: Flow) -> None:
        flow.books.sweep_interval_s = 1
        await flow.start_sweeps()
        await until(lambda: len(flow.books.sweep_plans) == 1)
        flow.books.worthy = 1
        await until(lambda: any(b.sent for b in flow.books.batches.values()))
        assert not any(flow.books.sweep_plans)

    async def test_leave_crumbs_until_told(self, flow: Flow) -> None:
        flow.books.crumbs = 1
        sweeps = await flow.start_sweeps()
        await flow.environment.fast_forward(sweeps, timedelta(minutes=61))
        await until(lambda: len(flow.books.sweep_plans) == 2)
        assert flow.books.batches == {}
        await sweeps.signal(SweepWorkflow.sweep_now)
        await until(lambda: len(flow.books.batches) == 1)

    async def test_look_no_oftener_than_the_interval(self, flow: Flow) -> None:
        sweeps = await flow.start_sweeps()
        await until(lambda: len(flow.books.sweep_plans) == 1)
        await flow.environment.fast_forward(sweeps, timedelta(minutes=59))
        assert len(flow.books.sweep_plans) == 1
        await flow.environment.fast_forward(sweeps, timedelta(minutes=2))
        await until(lambda: len(flow.books.sweep_plans) == 2)

    async def test_that_are_on_their_way_are_driven_once(self, flow: Flow) -> None:
        flow.books.confirms_by_itself, flow.books.worthy = False, 1
        sweeps = await flow.start_sweeps()
        await until(lambda: any(b.sent for b in flow.books.batches.values()))
        for told in range(1, 4):
            await sweeps.signal(SweepWorkflow.sweep_now)
            await until(lambda told=told: sum(flow.books.sweep_plans) == told)
        await flow.confirm()
        (batch_id,) = flow.books.batches
        workflow_id = chain_transaction_workflow_id(batch_id)
        await flow.client.get_workflow_handle(workflow_id).result()
        assert flow.books.nonces_given == 1
        assert "START_CHILD_WORKFLOW_EXECUTION_FAILED" in await events_of(sweeps)

    async def test_are_started_together(self, flow: Flow) -> None:
        """Hundreds of addresses would take hundreds of workflow tasks, one after the other."""
        handles = await scenarios.swept_together(flow)
        started = "START_CHILD_WORKFLOW_EXECUTION_INITIATED"
        history = await events_of(handles["sweep_together"])
        first = history.index(started)
        assert history[first : first + 3] == [started] * 3

    async def test_planned_before_a_crash_are_driven_after_it(
        self, temporal: WorkflowEnvironment
    ) -> None:
        """The plan is in the database; whoever asks next is told of it."""
        crash = CrashAfter("chain.plan_sweeps")
        async with flow_on(temporal, Books(worthy=1), crash) as flow:
            await flow.start_sweeps()
            await until(lambda: any(b.sent for b in flow.books.batches.values()))
        assert crash.crashes == 1
        assert len(flow.books.batches) == flow.books.nonces_given == 1

    async def test_begin_new_histories_and_forget_no_order(self, flow: Flow) -> None:
        """An order may come with the very step that ends a history."""
        handles = await scenarios.swept_for_long(flow)
        history = await events_of(handles["sweep_renewed"])
        assert history[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
        assert sum(flow.books.sweep_plans) == 39
