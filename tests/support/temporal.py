"""A real Temporal server for tests: one per run, with time that a test can skip per workflow."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.converter import DataConverter
from temporalio.service import RPCError
from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment

from devnet.temporal import temporal_binary
from infra.keyring import generate_key
from infra.search_attributes import SEARCH_ATTRIBUTES
from infra.temporal import data_converter

NAMESPACE = "default"
CODEC_KEYS = f"tests:{generate_key()}"

CONTINUE_AS_NEW_AFTER_EVENTS = 80
"""What the server suggests; its default of 4,096 would make a test of it slow."""

DYNAMIC_CONFIG = (
    "frontend.WorkflowTimeSkippingEnabled=true",
    f"limit.historyCount.suggestContinueAsNew={CONTINUE_AS_NEW_AFTER_EVENTS}",
    "system.forceSearchAttributesCacheRefreshOnRead=true",
)


@asynccontextmanager
async def running_temporal(converter: DataConverter) -> AsyncIterator[WorkflowEnvironment]:
    """Yield a server of our kind, with the search attributes that workflows start with."""
    switches = [part for value in DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)]
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        # Real time until a test asks for more: what waits for a signal must not skip past it.
        ts_config=TimeSkippingConfig(enabled=False),
        namespace=NAMESPACE,
        data_converter=converter,
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES],
        dev_server_existing_path=str(temporal_binary()),
        dev_server_extra_args=switches,
        dev_server_log_level="error",
    )
    try:
        yield environment
    finally:
        await environment.shutdown()


@pytest.fixture(scope="session")
async def temporal_server() -> AsyncIterator[WorkflowEnvironment]:
    async with running_temporal(data_converter(CODEC_KEYS, namespace=NAMESPACE)) as environment:
        yield environment


@pytest.fixture
async def temporal(temporal_server: WorkflowEnvironment) -> AsyncIterator[WorkflowEnvironment]:
    """Yield the server of all tests, and leave nothing running on it."""
    yield temporal_server
    await _end_workflows(temporal_server.client)


async def _end_workflows(client: Client) -> None:
    """
    End what a test left: the next one's workers would go on with it, over another database.

    One that was started a moment ago may not be listed yet; the next test's end finds it.
    """
    async for workflow in client.list_workflows("ExecutionStatus = 'Running'"):
        with suppress(RPCError):
            await client.get_workflow_handle(workflow.id, run_id=workflow.run_id).terminate()
