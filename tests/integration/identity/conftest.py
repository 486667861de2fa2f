from collections.abc import AsyncIterator

import httpx
import pytest

from identity.services import Identity
from infra.database import Database
from tests.support.api import running_api
from tests.support.clocks import MovableClock
from tests.support.identity import Person, identity_for_tests, new_person


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def identity(database: Database, clock: MovableClock) -> Identity:
    return identity_for_tests(database, clock)


@pytest.fixture
async def person(identity: Identity, clock: MovableClock) -> Person:
    return await new_person(identity, clock)


@pytest.fixture
async def enrolled(person: Person) -> Person:
    return await person.enrol()


@pytest.fixture
async def client(database: Database, identity: Identity) -> AsyncIterator[httpx.AsyncClient]:
    async with running_api(database, identity) as opened:
        yield opened
