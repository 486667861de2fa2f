"""How much a worker takes at once: no more than it ends before the server gives it out again."""

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import worker
from domain.clock import SystemClock
from domain.ids import new_id
from infra.database import Database
from mixers.desk import PostgresMixDesk
from tests.support.mixing import KEEP_FOR, KEYS
from wiring.mixing import MixerServing

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
"""Nothing is asked."""


def of_wallet(process: worker.Process) -> Worker:
    return worker.wallet_worker(process, queue=new_id("slots"))


def of_mixer(process: worker.Process) -> Worker:
    desk = PostgresMixDesk(process.database, SystemClock(), KEYS, keep_audit_for=KEEP_FOR)
    serving = MixerServing(
        process.client,
        desk,
        worker.payout_steps(process),
        process.database,
        worker.sandbox,
        worker.INTERCEPTORS,
        timedelta(seconds=1),
    )
    return serving.worker_of(new_id("slots"))


class TestSlots:
    @pytest.mark.parametrize("served", [of_wallet, of_mixer], ids=["wallet", "mixer"])
    async def test_let_no_task_wait_for_its_step(
        self, temporal: WorkflowEnvironment, served: object
    ) -> None:
        """A task that waits for its step to begin has begun itself, and times out."""
        assert callable(served)
        database = Database(NOWHERE)
        config = served(worker.Process(temporal.client, database)).config()
        await database.close()
        tasks = config["max_concurrent_workflow_tasks"]
        assert tasks is not None
        # Each unit of work has a connection, or waits for few others.
        assert tasks <= config["max_concurrent_local_activities"] <= 20
