from collections.abc import AsyncIterator

import pytest

from tests.support.mixing import MixHouse, opened_house


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[MixHouse]:
    async with opened_house(database_url) as opened:
        yield opened
        assert await opened.faults() == []
        await opened.books.assert_sound()
