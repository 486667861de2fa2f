from collections.abc import AsyncIterator

import pytest

from tests.support.books import Books
from tests.support.webhook_office import Office, open_office


@pytest.fixture
async def office(books: Books, database_url: str) -> AsyncIterator[Office]:
    async with open_office(books, database_url) as opened:
        yield opened
