from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from infra.database import Database
from tests.integration.api.run_files import Counter, open_counter
from tests.support.bank import Bank, open_bank


@pytest.fixture
async def bank(temporal: WorkflowEnvironment, database: Database) -> AsyncIterator[Bank]:
    async with open_bank(temporal.client, database) as opened:
        yield opened


@pytest.fixture
async def counter(bank: Bank, database_url: str) -> AsyncIterator[Counter]:
    async with open_counter(bank, database_url) as opened:
        yield opened
