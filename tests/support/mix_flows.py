"""Mix workflows on a real Temporal server, over fakes; and the paths that they take."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Interceptor, Worker

from activities.deposits import DepositActivities
from activities.failures import FailureInterceptor
from activities.mixing import MixActivities, MixerCheckActivities, MixNewsActivities
from api.mix_workflows import MixWorkflows
from domain.errors import MixStateError
from domain.ids import MIX, new_id
from domain.mixing.messages import MixAction, MixRequest, MixStatus
from domain.workflow_ids import (
    MIXER_CHECK_ID,
    WALLET_QUEUE,
    deposit_workflow_id,
    mix_workflow_id,
)
from infra.notifier import TemporalNotifier
from tests.support.clocks import MovableClock
from tests.support.fake_mixer import (
    EXPIRES_AFTER,
    MIXER_ID,
    PARTS,
    QUEUE,
    RECHECK,
    STEP,
    FakeMix,
    FakeMixDesk,
    FakeMixer,
    FakeMixerChecker,
    FundingDepositDesk,
)
from tests.support.flows import until
from wiring.mixing import mix_steps
from worker import WORKFLOWS, sandbox
from workflows.mixer_check import MixerCheckWorkflow

Handle = WorkflowHandle[Any, Any]
Handles = dict[str, Handle]


@dataclass
class MixFlow:
    """Workers for mixes and their deposits, and what the API does."""

    environment: WorkflowEnvironment
    mixer: FakeMixer
    interceptors: tuple[Interceptor, ...] = ()
    cached_workflows: int = 1_000
    started: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = self.environment.client
        self.api = MixWorkflows(self.client, timeout=timedelta(seconds=20))
        self.notifier = TemporalNotifier(self.client)

    def steps(self) -> dict[str, list[Callable[..., Any]]]:
        """Return every activity by its queue."""
        checks = MixerCheckActivities(
            FakeMixerChecker(self.mixer), interval=timedelta(milliseconds=10)
        )
        return {
            QUEUE: mix_steps(MixActivities(FakeMixDesk(self.mixer))),
            WALLET_QUEUE: [
                DepositActivities(FundingDepositDesk(self.mixer)).advance,
                MixNewsActivities(self.notifier).tell,
                checks.check,
            ],
        }

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        workers = [
            Worker(
                self.client,
                task_queue=queue,
                activities=activities,
                workflows=WORKFLOWS,
                workflow_runner=sandbox(),
                interceptors=[*self.interceptors, FailureInterceptor()],
                max_cached_workflows=self.cached_workflows,
            )
            for queue, activities in self.steps().items()
        ]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            yield
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers))
            await asyncio.gather(*running)

    def request(self, mix_id: str) -> MixRequest:
        return MixRequest(
            mix_id=mix_id,
            user_id="usr_mixer",
            principal="usr_mixer",
            idempotency_key=mix_id,
            request_hash="hash",
            mixer_id=MIXER_ID,
            address_id="adr_1",
            addresses=("0x01",),
            parts_asked=1,
            second_factor="totp",
        )

    async def open(self) -> FakeMix:
        """Ask for a mix as the API does."""
        mix_id = new_id(MIX)
        self.started += [mix_workflow_id(mix_id), deposit_workflow_id(deposit_of(mix_id))]
        accepted = await self.api.request(self.request(mix_id))
        assert accepted.status == MixStatus.AWAITING_FUNDS
        return self.mixer.mixes[mix_id]

    async def fund(self, mix: FakeMix) -> None:
        """Let a deposit's workflow credit it, and wait until the mix has taken it."""
        await self.notifier.deposits_moved([deposit_of(mix.id)])

        async def is_taken() -> bool:
            return mix.is_taken

        await until(is_taken)

    async def run_of(self, mix: FakeMix) -> Handle:
        return await self.newest(mix_workflow_id(mix.id))

    async def skip(self, run: Handle, duration: timedelta) -> None:
        """Let so much time pass for the database and for a run."""
        self.mixer.clock.advance(duration)
        # The server does not say that the skipping is over when the run ends in the midst of it.
        skipping = asyncio.create_task(self.environment.fast_forward(run, duration))
        ended = asyncio.create_task(run.result())
        try:
            await asyncio.wait([skipping, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (skipping, ended):
                task.cancel()
            await asyncio.gather(skipping, ended, return_exceptions=True)

    async def dole(self, mix: FakeMix) -> None:
        """Let the next part be due, and wait until it has left."""
        run, before = await self.run_of(mix), len(mix.due)
        await self.skip(run, STEP)

        async def has_left() -> bool:
            return len(mix.due) < before

        await until(has_left)

    async def newest(self, workflow_id: str) -> Handle:
        described = await self.client.get_workflow_handle(workflow_id).describe()
        return self.client.get_workflow_handle(workflow_id, run_id=described.run_id)

    async def clean_up(self) -> None:
        for workflow_id in self.started:
            with suppress(RPCError):
                await self.client.get_workflow_handle(workflow_id).terminate("the test is over")


def deposit_of(mix_id: str) -> str:
    return mix_id.replace("mix_", "dep_")


@asynccontextmanager
async def mix_flow_on(
    environment: WorkflowEnvironment,
    mixer: FakeMixer,
    *interceptors: Interceptor,
    cached_workflows: int = 1_000,
) -> AsyncIterator[MixFlow]:
    """Yield running workers over this mixer; nothing runs any more afterwards."""
    flow = MixFlow(environment, mixer, interceptors, cached_workflows)
    async with flow.working():
        try:
            yield flow
        finally:
            await flow.clean_up()


Scenario = Callable[[MixFlow], Awaitable[Handles]]


async def mix_done(flow: MixFlow) -> Handles:
    """A deposit comes, and its parts leave over two and a half days."""
    mix = await flow.open()
    run = await flow.run_of(mix)
    await flow.fund(mix)
    for _ in range(PARTS):
        await flow.dole(mix)
    await run.result()
    deposit = await flow.newest(deposit_workflow_id(deposit_of(mix.id)))
    await deposit.result()
    return {"mix_done": run, "deposit_of_mix": deposit}


async def mix_settled_later(flow: MixFlow) -> Handles:
    """The chain takes its time over the last parts, and the end is told."""
    flow.mixer.settles_at_once = False
    mix = await flow.open()
    run = await flow.run_of(mix)
    await flow.fund(mix)
    for _ in range(PARTS):
        await flow.dole(mix)
    mix.unsettled = 0
    await flow.notifier.mixes_moved([mix.id])
    await run.result()
    return {"mix_settled_later": run}


async def mix_expired(flow: MixFlow) -> Handles:
    mix = await flow.open()
    run = await flow.run_of(mix)
    await flow.skip(run, EXPIRES_AFTER + RECHECK)
    await run.result()
    return {"mix_expired": run}


async def mix_cancelled(flow: MixFlow) -> Handles:
    mix = await flow.open()
    run = await flow.run_of(mix)
    await flow.fund(mix)
    await flow.api.cancel(mix.id, MIXER_ID)
    await run.result()
    return {"mix_cancelled": run}


async def mix_paused(flow: MixFlow) -> Handles:
    """Nothing leaves for a day, and then the rest does."""
    mix = await flow.open()
    run = await flow.run_of(mix)
    await flow.fund(mix)
    await flow.api.pause(mix.id, MIXER_ID)
    await flow.skip(run, 2 * STEP)
    assert len(mix.due) == PARTS
    await flow.api.resume(mix.id, MIXER_ID)
    while mix.due:
        await flow.dole(mix)
    await run.result()
    return {"mix_paused": run}


async def mix_held(flow: MixFlow) -> Handles:
    """An operator holds a mix over the end of its window."""
    mix = await flow.open()
    run = await flow.run_of(mix)
    await flow.fund(mix)
    await flow.dole(mix)
    action = MixAction(mix.id, "usr_operator", "because")
    await flow.api.hold(action, MIXER_ID)
    await flow.skip(run, 2 * STEP)
    assert len(mix.due) == PARTS - 1
    # Refused where an earlier try did it and could not tell.
    with suppress(MixStateError):
        await flow.api.release_hold(action, MIXER_ID)
    while mix.due:
        await flow.dole(mix)
    # It looks every quarter of an hour while it is held, so it is continued as new.
    await (await flow.run_of(mix)).result()
    return {"mix_held": run}


async def mix_refused(flow: MixFlow) -> Handles:
    flow.mixer.is_refusing = True
    mix_id = new_id(MIX)
    flow.started.append(mix_workflow_id(mix_id))
    accepted = await flow.api.request(flow.request(mix_id))
    assert accepted.reason_code == "mixing_not_allowed"
    run = await flow.newest(mix_workflow_id(mix_id))
    await run.result()
    return {"mix_refused": run}


async def mix_late(flow: MixFlow) -> Handles:
    """A deposit comes long after the mix has expired, and is mixed all the same."""
    await mix_expired(flow)
    (mix,) = flow.mixer.mixes.values()
    # Another run begins at the present: the server skips time for each run by itself.
    flow.mixer.clock = MovableClock(datetime.now(UTC))
    await flow.fund(mix)
    while mix.due:
        await flow.dole(mix)
    run = await flow.run_of(mix)
    await run.result()
    return {"mix_late": run}


async def mixers_checked(flow: MixFlow) -> Handles:
    handle = await flow.client.start_workflow(
        MixerCheckWorkflow.run, id=MIXER_CHECK_ID, task_queue=WALLET_QUEUE
    )
    flow.started.append(MIXER_CHECK_ID)
    first = handle.first_execution_run_id

    async def is_renewed() -> bool:
        return (await handle.describe()).run_id != first

    await until(is_renewed)
    return {"mixer_check": flow.client.get_workflow_handle(MIXER_CHECK_ID, run_id=first)}


MIX_SCENARIOS: tuple[Scenario, ...] = (
    mix_done,
    mix_settled_later,
    mix_expired,
    mix_cancelled,
    mix_paused,
    mix_held,
    mix_refused,
    mix_late,
    mixers_checked,
)
