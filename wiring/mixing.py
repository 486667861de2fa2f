"""Serving mixers: a worker for the task queue of each, also of those that are made meanwhile."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import col, select
from temporalio.client import Client
from temporalio.worker import Interceptor, Worker, WorkflowRunner

from activities.mixing import MixActivities, MixerCheckActivities
from activities.payouts import PayoutActivities
from domain.clock import Clock
from domain.errors import DatabaseUnavailableError
from domain.ports import AddressScreener
from infra.database import Database
from infra.keyring import Keyring
from infra.settings import WorkerSettings
from mixers.check import PostgresMixerChecker
from mixers.desk import PostgresMixDesk
from models.mixing import Mixer
from workflows.mix import MixWorkflow

LOOK_S = 5.0
"""How often new mixers are looked for."""

STEPS_AT_ONCE = 4
"""
Workflow tasks of one mixer that a process has at once, each with one unit of work.

What it takes it has to end within ten seconds, or the server gives it out again and the work was
for nothing; what it does not take waits at the server for as long as it must. And all mixers of a
process share its connections to the database with everybody else.
"""


@dataclass
class MixerServing:
    """What serving mixers takes, and whose: those of one task queue, or of all."""

    client: Client
    desk: PostgresMixDesk
    payouts: PayoutActivities
    database: Database
    runner: Callable[[], WorkflowRunner]
    interceptors: Sequence[Interceptor]
    grace: timedelta
    only: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop; a worker that fails ends it."""
        workers: dict[str, Worker] = {}
        running: list[asyncio.Task[None]] = []
        try:
            while not stop.is_set() and not any(task.done() for task in running):
                for queue in await self._queues():
                    if queue not in workers:
                        workers[queue] = self.worker_of(queue)
                        running.append(asyncio.create_task(workers[queue].run()))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_S)
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers.values()))
            await asyncio.gather(*running)

    async def _queues(self) -> Sequence[str]:
        with contextlib.suppress(DatabaseUnavailableError):
            async with self.database.transaction() as session:
                found = await session.exec(select(Mixer.task_queue).order_by(col(Mixer.id)))
                return [queue for queue in found if self.only in (None, queue)]
        return ()

    def worker_of(self, queue: str) -> Worker:
        """Return the worker that serves one mixer; it does not run yet."""
        return Worker(
            self.client,
            task_queue=queue,
            workflows=[MixWorkflow],
            activities=[
                *mix_steps(MixActivities(self.desk)),
                self.payouts.refund_unsigned,
                self.payouts.retry_abandoned,
            ],
            workflow_runner=self.runner(),
            interceptors=self.interceptors,
            graceful_shutdown_timeout=self.grace,
            max_concurrent_workflow_tasks=STEPS_AT_ONCE,
            max_concurrent_local_activities=STEPS_AT_ONCE,
        )


def mix_steps(steps: MixActivities) -> list[Callable[..., object]]:
    """Return every activity of a mix."""
    return [
        steps.open,
        steps.advance,
        steps.cancel,
        steps.pause,
        steps.resume,
        steps.hold,
        steps.release_hold,
    ]


def mix_desk(
    database: Database,
    settings: WorkerSettings,
    *,
    clock: Clock,
    screener: AddressScreener | None,
) -> PostgresMixDesk:
    """Return the desk that these settings ask for; mixing is on."""
    assert settings.mixer_keys is not None, "the settings see to it"
    return PostgresMixDesk(
        database,
        clock,
        Keyring.parse(settings.mixer_keys.get_secret_value()),
        keep_audit_for=timedelta(days=settings.mixer_audit_days),
        screener=screener,
    )


def mixer_checks(
    database: Database, settings: WorkerSettings, *, clock: Clock
) -> MixerCheckActivities:
    """Return what compares the books of mixers."""
    return MixerCheckActivities(
        PostgresMixerChecker(database, clock), interval=settings.mixer_check_interval
    )
