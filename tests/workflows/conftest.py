from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from activities import watching
from tests.support.fakes import Books
from tests.support.flows import Flow, flow_on


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "ROUND_LENGTH", timedelta(milliseconds=50))


@pytest.fixture
async def flow(temporal: WorkflowEnvironment) -> AsyncIterator[Flow]:
    """Yield running workers over empty books."""
    async with flow_on(temporal, Books()) as opened:
        yield opened
