"""What a reviewer tried on KYC: documents that come while their application moves on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from domain.errors import KycApplicationStateError
from tests.integration.identity.test_admins import until_waiting
from tests.support.books import Books
from tests.support.kyc import PostgresKycWorld
from tests.support.kyc_contract import ASK, decision


@pytest.fixture
async def world(books: Books, database_url: str) -> AsyncIterator[PostgresKycWorld]:
    opened = await PostgresKycWorld.opened(books, database_url)
    yield opened
    await opened.api.close()


async def test_documents_for_what_is_withdrawn_meanwhile_are_refused(
    world: PostgresKycWorld,
) -> None:
    application_id = await world.apply()
    await world.desk.decide(decision(world, application_id, ASK))

    async with world.books.owner.transaction() as session:
        change = text("UPDATE kyc_application SET status = 'withdrawn' WHERE id = :id")
        await session.execute(change, {"id": application_id})
        handing_in = asyncio.create_task(world.hand_in(application_id))
        await until_waiting(world.books.owner, 1)

    with pytest.raises(KycApplicationStateError):
        await handing_in
