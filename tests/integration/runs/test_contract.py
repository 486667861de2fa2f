"""The desk of bulk payouts on PostgreSQL, and the fake of it that workflows are tested with."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from domain.ids import new_id
from domain.payouts import PayoutStatus
from tests.support.books import APPROVERS, FEE_MINOR, USERS
from tests.support.books import Books as PostgresBooks
from tests.support.fake_runs import REQUESTER, STRANGER, FakeRunDesk, upload
from tests.support.fakes import Books, FakeOutgoingLog
from tests.support.run_contract import FUNDS_MINOR, LIFETIME, RunDeskContract
from tests.support.runs import Runs


class FakeRunWorld:
    """In memory."""

    requester = REQUESTER
    approvers = ("ann", "ben", "cleo")
    stranger = STRANGER
    fee_minor = 0

    def __init__(self) -> None:
        self.books = Books(available_minor=FUNDS_MINOR, approval_lifetime=LIFETIME)
        self.desk = FakeRunDesk(self.books)
        self._log = FakeOutgoingLog(self.books)

    async def upload(self, *amounts_minor: int) -> str:
        return upload(self.books, *amounts_minor).id

    async def ask_for(self, approvals: int) -> None:
        self.books.approvals_required = approvals

    async def available_minor(self) -> int:
        return self.books.available_minor

    async def fund(self, amount_minor: int) -> None:
        self.books.available_minor += amount_minor

    async def batch(self) -> str:
        batch_id = await self._log.claim(chain_id="", wallet_address="", claim_key=new_id("claim"))
        assert batch_id is not None
        return batch_id

    async def put_back(self, batch_id: str) -> None:
        del self.books.batches[batch_id]
        for payout in self.books.payouts.values():
            if payout.batch_id == batch_id:
                payout.status, payout.batch_id = PayoutStatus.READY, None

    async def settle(self, batch_id: str) -> None:
        self.books.batches[batch_id].is_mined = True
        await self._log.settle(batch_id)

    def wait(self, step: timedelta) -> None:
        self.books.clock.advance(step)


class PostgresRunWorld:
    """On PostgreSQL, with a scripted chain."""

    requester = USERS[0]
    approvers = APPROVERS
    stranger = USERS[1]
    fee_minor = FEE_MINOR

    def __init__(self, books: PostgresBooks) -> None:
        self.books = books
        self._runs = Runs(books)
        self.desk = self._runs.desk

    async def upload(self, *amounts_minor: int) -> str:
        return await self._runs.upload(amounts_minor, user_id=self.requester)

    async def ask_for(self, approvals: int) -> None:
        rule = {"asset": "*", "up_to_minor": None, "approvals": approvals}
        lifetime_s = int(LIFETIME.total_seconds())
        await self.books.set_policy({"rules": [rule], "approval_expires_s": lifetime_s})

    async def available_minor(self) -> int:
        available, _ = await self.books.money(self.requester)
        return available

    async def fund(self, amount_minor: int) -> None:
        await self.books.deposit(self.requester, "ETH", amount_minor)

    async def batch(self) -> str:
        return await self.books.claim()

    async def put_back(self, batch_id: str) -> None:
        await self.books.execute(
            "UPDATE payout SET status = 'ready', chain_transaction_id = NULL"  # noqa: S608
            " FROM chain_transaction t"
            f" WHERE t.id = payout.chain_transaction_id AND t.batch_id = '{batch_id}'"
        )

    async def settle(self, batch_id: str) -> None:
        await self.books.runner.prepare(batch_id)
        assert await self.books.log.allocate(batch_id)
        await self.books.signer.sign(batch_id)
        await self.books.runner.broadcast(batch_id)
        self.books.chain.mine(3)
        await self.books.watch.watch_once()
        await self.books.log.settle(batch_id)

    def wait(self, step: timedelta) -> None:
        self.books.clock.advance(step)


class TestFake(RunDeskContract[FakeRunWorld]):
    @pytest.fixture
    def world(self) -> FakeRunWorld:
        return FakeRunWorld()


class TestPostgres(RunDeskContract[PostgresRunWorld]):
    @pytest.fixture
    async def world(self, books: PostgresBooks) -> AsyncIterator[PostgresRunWorld]:
        world = PostgresRunWorld(books)
        await world.fund(FUNDS_MINOR)
        yield world
        await books.assert_sound()
