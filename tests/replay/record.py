"""
Writes ``histories/``: run ``python -m tests.replay.record`` when a workflow changes on purpose.

Names of scenarios after it, such as ``run_paid``, record those alone and leave the others.

The histories that are there already stay valid for as long as a workflow that began under them may
still run; replacing one says that no such workflow is left.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.converter import DataConverter

from activities import watching
from infra.processes import run_and_exit
from tests.support.fake_mixer import FakeMixer
from tests.support.fake_shop import FakeShop
from tests.support.fakes import Books
from tests.support.flows import flow_on
from tests.support.mix_flows import MIX_SCENARIOS, mix_flow_on
from tests.support.purchase_flows import PURCHASE_SCENARIOS, purchase_flow_on
from tests.support.scenarios import SCENARIOS
from tests.support.temporal import running_temporal

HISTORIES = Path(__file__).parent / "histories"
TIMEOUT_S = 60


async def record() -> int:
    """Run every scenario on a server that encrypts nothing, and keep what it tells."""
    watching.ROUND_LENGTH = timedelta(milliseconds=50)
    HISTORIES.mkdir(exist_ok=True)
    names = sys.argv[1:]
    async with running_temporal(DataConverter.default) as environment:
        for scenario in SCENARIOS:
            if not names or scenario.__name__ in names:
                async with flow_on(environment, Books()) as flow, asyncio.timeout(TIMEOUT_S):
                    await _keep(await scenario(flow))
        for bought in PURCHASE_SCENARIOS:
            if not names or bought.__name__ in names:
                async with (
                    purchase_flow_on(environment, FakeShop()) as shop,
                    asyncio.timeout(TIMEOUT_S),
                ):
                    await _keep(await bought(shop))
        for mixed in MIX_SCENARIOS:
            if not names or mixed.__name__ in names:
                async with (
                    mix_flow_on(environment, FakeMixer()) as mixer,
                    asyncio.timeout(TIMEOUT_S),
                ):
                    await _keep(await mixed(mixer))
    return 0


async def _keep(handles: Mapping[str, WorkflowHandle[Any, Any]]) -> None:
    for name, handle in handles.items():
        history = json.loads((await handle.fetch_history()).to_json())
        text = json.dumps(history, separators=(",", ":"), sort_keys=True)
        # Which process of which machine recorded it is nobody's business.
        text = text.replace(f"{os.getpid()}@{socket.gethostname()}", "recorder")
        (HISTORIES / f"{name}.json").write_text(text + "\n")
        sys.stdout.write(f"{name}: {len(history['events'])} events\n")


if __name__ == "__main__":
    run_and_exit(record)
