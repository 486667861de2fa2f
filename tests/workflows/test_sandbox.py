import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from domain.ids import new_id
from tests.support.careless import CarelessWorkflow
from tests.support.flows import until
from worker import WORKFLOWS, sandbox


class TestSandbox:
    async def test_stops_a_workflow_that_reads_the_clock(
        self, temporal: WorkflowEnvironment
    ) -> None:
        queue = new_id("queue")
        async with Worker(
            temporal.client,
            task_queue=queue,
            workflows=[CarelessWorkflow],
            workflow_runner=sandbox(),
        ):
            handle = await temporal.client.start_workflow(
                CarelessWorkflow.run, id=new_id("careless"), task_queue=queue
            )

            async def has_failed() -> bool:
                history = await handle.fetch_history()
                failed = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
                return any(event.event_type == failed for event in history.events)

            await until(has_failed)
            await handle.terminate()

    @pytest.mark.parametrize("workflow", WORKFLOWS)
    def test_keeps_our_workflow_modules_inside(self, workflow: type) -> None:
        passed_through = sandbox().restrictions.passthrough_modules

        parts = workflow.__module__.split(".")
        prefixes = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
        assert prefixes.isdisjoint(passed_through)
