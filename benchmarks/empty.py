"""The measure of payouts: a workflow that does nothing but as many activity calls as a payout."""

import os
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from infra import temporal
    from infra.processes import run_and_exit, stop_on_signals
    from infra.settings import WorkerSettings
    from worker import sandbox

QUEUE = "benchmark"


@activity.defn(name="benchmark.nothing")
async def nothing() -> None:
    """Do nothing."""


@workflow.defn(name="EmptyWorkflow", sandboxed=True)
class EmptyWorkflow:
    """One local activity, as an automatic payout has one (``payout.freeze``)."""

    @workflow.run
    async def run(self) -> None:
        """Call it and end."""
        await workflow.execute_local_activity(nothing, start_to_close_timeout=timedelta(seconds=15))


@workflow.defn(name="TalkingWorkflow", sandboxed=True)
class TalkingWorkflow:
    """The same messages as a payout: an update that starts it, a timer, a signal that ends it."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._is_accepted = False
        self._is_finished = False

    @workflow.run
    async def run(self) -> None:
        """Call the local activity, then wait for the end."""
        await workflow.execute_local_activity(nothing, start_to_close_timeout=timedelta(seconds=15))
        self._is_accepted = True
        await workflow.wait_condition(lambda: self._is_finished, timeout=timedelta(hours=1))

    @workflow.update
    async def accept(self) -> None:
        """Answer once the activity is done."""
        await workflow.wait_condition(lambda: self._is_accepted)

    @workflow.signal
    def finished(self) -> None:
        """End."""
        self._is_finished = True


async def serve() -> int:
    """Serve the empty workflow with the settings of an ordinary worker."""
    stop = stop_on_signals()
    settings = WorkerSettings()
    client = await temporal.connect(
        address=settings.temporal_address,
        namespace=settings.temporal_namespace,
        codec_keys=settings.codec_keys.get_secret_value(),
    )
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[EmptyWorkflow, TalkingWorkflow],
        activities=[nothing],
        workflow_runner=sandbox(),
        max_concurrent_local_activities=50,
    )
    async with worker:
        await stop.wait()
    return 0


if __name__ == "__main__":
    os.environ.pop("STRONGROOM_METRICS_ADDRESS", None)
    run_and_exit(serve)
