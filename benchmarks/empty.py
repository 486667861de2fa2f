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
        workflows=[EmptyWorkflow],
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
