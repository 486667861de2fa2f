from collections.abc import AsyncIterator

import pytest

from tests.support.purchases import Shop, opened_shop


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with opened_shop(database_url) as opened:
        yield opened
        await opened.books.assert_sound()
