"""A whole local stack for the end-to-end tests: one for all, since it takes seconds to start."""

import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from devnet.bootstrap import fill
from devnet.ports import Ports
from devnet.stack import Stack


@pytest.fixture(scope="package")
async def stack() -> AsyncIterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="strongroom-e2e-") as folder:
        prepare = partial(fill, confirmations_min=3, bump_after_s=4)
        running = Stack(
            Path(folder) / "stack", ports=Ports.free(), block_time_s="1", prepare=prepare
        )
        async with running:
            yield running
        running.erase()
