from collections.abc import AsyncIterator

import pytest

from tests.support.conversions import Begun, ConvertingBooks, begun_on
from tests.support.postgres import PostgresServer, fresh_database


@pytest.fixture(scope="module")
async def begun(postgres_server: PostgresServer) -> AsyncIterator[Begun]:
    with fresh_database(postgres_server) as url:
        yield await begun_on(url)


@pytest.fixture
async def books(postgres_server: PostgresServer, begun: Begun) -> AsyncIterator[ConvertingBooks]:
    with fresh_database(postgres_server, template=begun.database) as url:
        opened = begun.copied(url)
        yield opened
        await opened.close()
