"""Payouts per second, end to end on a real chain, against empty workflows on the same server."""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from eth_utils.address import to_checksum_address
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from api.payout_workflows import PayoutWorkflows
from benchmarks.empty import QUEUE, EmptyWorkflow, TalkingWorkflow
from devnet.bootstrap import ETHER, ETHER_UNIT
from devnet.environments import worker_environment
from devnet.funding import fund
from devnet.stack import Stack
from devnet.supervisor import ManagedProcess
from devnet.temporal import is_polled
from domain.clock import SystemClock
from domain.ids import PAYOUT, USER, derived_id, new_id
from domain.payouts import PayoutRequest, PayoutStatus
from domain.workflow_ids import payout_workflow_id
from infra import temporal
from infra.database import Database
from models.identity import User

IN_FLIGHT = 400
"""Payouts on their way at once: confirmations take seconds, so it takes many to keep busy."""

EMPTY_IN_FLIGHT = 40
ACCEPT_TIMEOUT = timedelta(seconds=60)
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class PayoutFigures:
    """What was measured; rates per second are of this machine and this run only."""

    empty_per_s: float
    talking_per_s: float
    """Empty, but started by an update, with a timer, and ended by a signal, as payouts are."""
    payouts_per_s: float
    history_events: int
    workflow_tasks: int
    activity_calls: int

    @property
    def payout_vs_empty_workflow(self) -> float:
        """The ratio that counts."""
        return self.payouts_per_s / self.empty_per_s

    @property
    def payout_vs_same_messages(self) -> float:
        """What is left when the engine's own cost of a payout's messages is taken out."""
        return self.payouts_per_s / self.talking_per_s


async def measure(stack: Stack, *, count: int) -> PayoutFigures:
    """Alternate rounds of both, so that a noisy neighbour hits both; return the medians."""
    site = stack.site
    client = await temporal.connect(
        address=site.temporal_address, namespace="strongroom", codec_keys=site.secrets.codec_keys
    )
    user_id = await _funded_user(stack)
    workflows = PayoutWorkflows(client, timeout=ACCEPT_TIMEOUT)
    helper = _empty_worker(stack)
    await helper.start()
    try:
        pay = partial(pay_one, client, workflows, user_id)
        empty, talk = partial(_run_empty, client), partial(_talk, client)
        await rate(pay, 50, IN_FLIGHT)
        await rate(empty, 50, EMPTY_IN_FLIGHT)
        empty_rates, talking_rates, payout_rates = [], [], []
        for _ in range(ROUNDS):
            empty_rates.append(await rate(empty, count, EMPTY_IN_FLIGHT))
            talking_rates.append(await rate(talk, count, EMPTY_IN_FLIGHT))
            payout_rates.append(await rate(pay, count, IN_FLIGHT))
        return PayoutFigures(
            statistics.median(empty_rates),
            statistics.median(talking_rates),
            statistics.median(payout_rates),
            *await _history(client, await pay()),
        )
    finally:
        await helper.stop()


async def rate(one: Callable[[], Awaitable[object]], count: int, in_flight: int) -> float:
    """Return how many end per second, with so many on their way at once."""
    gate = asyncio.Semaphore(in_flight)

    async def gated() -> None:
        async with gate:
            await one()

    began = time.perf_counter()
    await asyncio.gather(*(gated() for _ in range(count)))
    return count / (time.perf_counter() - began)


async def pay_one(
    client: Client,
    workflows: PayoutWorkflows,
    user_id: str,
    *,
    asset: str = ETHER,
    amount_minor: int = ETHER_UNIT // 10**6,
    recipient: Callable[[bytes], str] = to_checksum_address,
) -> str:
    """
    Ask for a payout as the API does, see it settled, and return its id.

    ``recipient`` makes an address of 20 bytes.
    """
    payout_id = derived_id(PAYOUT, user_id, new_id("bench"))
    accepted = await workflows.request(
        PayoutRequest(
            payout_id=payout_id,
            user_id=user_id,
            principal=user_id,
            idempotency_key=payout_id,
            request_hash=payout_id,
            asset=asset,
            amount=str(amount_minor),
            destination=recipient(payout_id.encode()[-20:]),
        )
    )
    # On a busy machine the answer may come when it has left already.
    assert accepted.reason_code is None, accepted
    outcome = await client.get_workflow_handle(payout_workflow_id(payout_id)).result()
    assert outcome["status"] == PayoutStatus.SETTLED, outcome
    return payout_id


async def _run_empty(client: Client) -> None:
    await client.execute_workflow(EmptyWorkflow.run, id=new_id("empty"), task_queue=QUEUE)


async def _talk(client: Client) -> None:
    start = WithStartWorkflowOperation(
        TalkingWorkflow.run,
        id=new_id("talk"),
        task_queue=QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    await client.execute_update_with_start_workflow(
        TalkingWorkflow.accept, start_workflow_operation=start
    )
    handle = await start.workflow_handle()
    await handle.signal(TalkingWorkflow.finished)
    await handle.result()


async def _history(client: Client, payout_id: str) -> tuple[int, int, int]:
    history = await client.get_workflow_handle(payout_workflow_id(payout_id)).fetch_history()
    kinds = [event.event_type for event in history.events]
    return (
        len(kinds),
        kinds.count(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED),
        kinds.count(EventType.EVENT_TYPE_MARKER_RECORDED),
    )


async def _funded_user(stack: Stack) -> str:
    user_id, now = new_id(USER), SystemClock().now()
    database = Database(stack.site.database_url())
    async with database.transaction() as session:
        session.add(User(id=user_id, email=f"{user_id}@bench", password_hash="", created_at=now))
    await database.close()
    shares: dict[str | None, int] = {user_id: 40 * ETHER_UNIT, None: 20 * ETHER_UNIT}
    await fund(stack.site, asset_code=ETHER, shares=shares)
    return user_id


def _empty_worker(stack: Stack) -> ManagedProcess:
    site = stack.site
    return ManagedProcess(
        "benchmark",
        [sys.executable, "-m", "benchmarks.empty"],
        env=worker_environment(site, metrics_port=site.ports.metrics + 7),
        log_path=site.log_path("benchmark"),
        pid_path=site.pid_path("benchmark"),
        cwd=site.code_dir,
        ready=lambda pid: is_polled(site, QUEUE, pid=pid),
    )
