"""The desk of KYC on PostgreSQL, and the fake of it that workflows are tested with."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta

import pytest

from domain.kyc import KycSupply
from tests.support.books import Books
from tests.support.clocks import MovableClock
from tests.support.fake_kyc import APPLICANT, OWNER, REVIEWER, STRANGER, FakeKycDesk, KycBooks
from tests.support.kyc import PostgresKycWorld
from tests.support.kyc_contract import KycDeskContract


class FakeKycWorld:
    """In memory."""

    applicant, reviewer, owner, stranger = APPLICANT, REVIEWER, OWNER, STRANGER

    def __init__(self) -> None:
        self.books = KycBooks(MovableClock())
        self.desk = FakeKycDesk(self.books)

    async def apply(self, level: int = 1, *, lasts: timedelta | None = None) -> str:
        expiry = None
        if lasts is not None:
            last_day = (self.books.clock.now() + lasts).date()
            expiry = datetime.combine(last_day, time(), UTC) + timedelta(days=1)
        return self.books.apply(level, documents_expire_at=expiry).id

    async def hand_in(self, application_id: str) -> KycSupply:
        application = self.books.applications[application_id]
        application.stored_revision = application.revision + 1
        return KycSupply(application_id, application.stored_revision)

    async def level(self) -> int:
        return self.books.level

    async def reminders(self, application_id: str) -> int:
        return self.books.applications[application_id].reminders

    def wait(self, step: timedelta) -> None:
        self.books.clock.advance(step)


class TestFakeKycDesk(KycDeskContract[FakeKycWorld]):
    @pytest.fixture
    def world(self) -> FakeKycWorld:
        return FakeKycWorld()


class TestPostgresKycDesk(KycDeskContract[PostgresKycWorld]):
    @pytest.fixture
    async def world(self, books: Books, database_url: str) -> AsyncIterator[PostgresKycWorld]:
        world = await PostgresKycWorld.opened(books, database_url)
        yield world
        await world.api.close()
        await books.assert_sound()
