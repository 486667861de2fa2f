"""The process that sends is killed, for real, at the worst moments: every event arrives."""

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.ids import new_id
from domain.workflow_ids import WALLET_QUEUE, WEBHOOK_DISPATCHER_ID, webhook_delivery_workflow_id
from infra.paging import Page
from tests.support.books import as_role
from tests.support.dying_courier import MOMENTS
from tests.support.identity import KEYRING
from tests.support.temporal import CODEC_KEYS, NAMESPACE
from tests.support.webhook_office import Office
from workflows.webhook_dispatcher import WebhookDispatcherWorkflow

EVENTS = 5
PATIENCE_S = 90.0


@asynccontextmanager
async def courier(
    environment: dict[str, str], moment: str, marker: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.dying_courier", moment, str(marker), env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def courier_settings(database_url: str, temporal: WorkflowEnvironment) -> dict[str, str]:
    # The key of the keyring that tests seal with.
    keys = f"{KEYRING.sealing_key_id}:{base64.b64encode(bytes(range(32))).decode()}"
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "STRONGROOM_DATABASE_URL": as_role(database_url, "worker"),
        "STRONGROOM_TEMPORAL_ADDRESS": temporal.client.service_client.config.target_host,
        "STRONGROOM_TEMPORAL_NAMESPACE": NAMESPACE,
        "STRONGROOM_CODEC_KEYS": CODEC_KEYS,
        "STRONGROOM_CHAIN_RPC_URLS": json.dumps({}),
        "STRONGROOM_WEBHOOK_KEYS": keys,
        "STRONGROOM_WEBHOOK_LOOPBACK": "true",
    }


@pytest.mark.parametrize("moment", MOMENTS)
async def test_every_event_arrives_whenever_the_process_dies(
    office: Office,
    courier_settings: dict[str, str],
    temporal: WorkflowEnvironment,
    tmp_path: Path,
    *,
    moment: str,
) -> None:
    endpoint, secret = await office.add()
    names = [new_id("r") for _ in range(EVENTS)]
    await office.tell(*names)
    environment, marker = courier_settings, tmp_path / "died"
    await temporal.client.start_workflow(
        WebhookDispatcherWorkflow.run, id=WEBHOOK_DISPATCHER_ID, task_queue=WALLET_QUEUE
    )

    async def all_arrived() -> None:
        while {r.event["resource_id"] for r in office.receiver.received} < set(names):
            office.receiver.news.clear()
            await office.receiver.news.wait()

    try:
        async with courier(environment, moment, marker) as first, asyncio.timeout(PATIENCE_S):
            assert await first.wait() == -signal.SIGKILL
        async with courier(environment, moment, marker), asyncio.timeout(PATIENCE_S):
            await all_arrived()
            deliveries = await office.deliveries.of_endpoint(
                "u1", endpoint.id, Page(limit=100), status=None
            )
            for delivery in deliveries:
                workflow_id = webhook_delivery_workflow_id(delivery.id)
                await temporal.client.get_workflow_handle(workflow_id).result()
    finally:
        await temporal.client.get_workflow_handle(WEBHOOK_DISPATCHER_ID).terminate("over")

    assert len(deliveries) == EVENTS
    arrived = [r.event["id"] for r in office.receiver.received]
    assert len(set(arrived)) == EVENTS
    # Only what was sent and not noted comes twice, and its id says so.
    assert len(arrived) - EVENTS <= (EVENTS if moment == "sent" else 0)
    assert all(request.is_genuine(secret) for request in office.receiver.received)
    for delivery in deliveries:
        assert (await office.delivery(delivery.id)).status == "delivered"
