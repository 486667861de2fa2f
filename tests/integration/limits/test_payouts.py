"""Payouts and bulk payouts use the limits of their user's level, and give them back."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from sqlmodel import select

from domain.ids import new_id
from domain.payouts import DecisionKind, OperatorAction, PayoutStatus
from limits.reservation import check_limits
from models.ledger import Hold
from runs.checks import check_lines
from tests.faults.limits import miscounted
from tests.support.books import Books, opened_books
from tests.support.limits import patiently, row, set_level, set_limits, used
from tests.support.runs import Runs

APPROVED_BY_TWO = {"rules": [{"asset": "*", "up_to_minor": None, "approvals": 2}]}


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with opened_books(database_url, pool_size=30) as opened:
        await opened.deposit("u1", "ETH", 100_000)
        yield opened
        await opened.assert_sound()
        async with opened.owner.transaction() as session:
            assert await miscounted(session) == []


class TestPayout:
    async def test_above_a_limit_is_refused_and_says_why_for_ever(self, books: Books) -> None:
        await set_limits(books, row(amount_minor="250"))
        assert (await books.freeze(amount_minor=200)).status == PayoutStatus.READY
        request = books.request(amount_minor=60)
        refused = await books.desk.freeze(request)
        assert (refused.status, refused.reason_code) == (PayoutStatus.REFUSED, "limit_exceeded")
        assert "payout:ETH:24h of level 0 leaves 0.00000000000000005 of" in (refused.reason or "")
        await set_limits(books)
        assert await books.desk.freeze(request) == refused
        assert await books.money() == (100_000 - 210, 210)

    async def test_of_two_hundred_at_once_none_passes_the_limit(self, books: Books) -> None:
        await set_limits(books, row(count=20), row(window="30d", amount_minor="1000"))
        requests = [books.request(amount_minor=100) for _ in range(200)]
        answers = await asyncio.gather(
            *(patiently(partial(books.desk.freeze, request)) for request in requests)
        )
        assert sum(answer.status == PayoutStatus.READY for answer in answers) == 10
        assert await used(books) == [(10, None), (10, 1_000)]

    @pytest.mark.parametrize("end", ["rejected", "cancelled", "expired"])
    async def test_that_is_released_restores_the_limit(self, books: Books, end: str) -> None:
        await books.set_policy(APPROVED_BY_TWO)
        await set_limits(books, row(amount_minor="100", count=1))
        payout_id = (await books.freeze(amount_minor=100)).payout_id
        assert (await books.freeze(amount_minor=1)).reason_code == "limit_exceeded"
        if end == "rejected":
            await books.decide(payout_id, "a1", DecisionKind.REJECT)
        elif end == "cancelled":
            await books.desk.cancel(payout_id)
        else:
            await books.desk.expire(payout_id)
        assert (await books.payout(payout_id)).status == end
        assert await used(books) == [(0, 0)]
        assert (await books.freeze(amount_minor=100)).status == PayoutStatus.AWAITING_APPROVAL

    async def test_that_is_refunded_from_flight_restores_the_limit(self, books: Books) -> None:
        await set_limits(books, row(amount_minor="100", count=1))
        await books.allocated(100)
        (payout,) = await books.payouts()
        assert payout.status == PayoutStatus.BATCHED
        await books.execute("UPDATE chain_transaction SET status = 'abandoned'")
        await books.log.refund(OperatorAction(payout.id, "a1"))
        async with books.owner.transaction() as session:
            hold = (await session.exec(select(Hold))).one()
        assert hold.status == "captured"
        assert await used(books) == [(0, 0)]

    async def test_that_is_settled_does_not(self, books: Books) -> None:
        await set_limits(books, row(count=1))
        await books.settled(100)
        assert await used(books) == [(1, None)]


class TestRun:
    async def test_counts_its_lines_and_what_they_pay(self, books: Books) -> None:
        runs = Runs(books)
        await set_limits(books, row(0, count=3), row(1, amount_minor="1000", count=4))
        run_id = await runs.upload([100, 200, 300, 400])
        async with books.worker.transaction() as session:
            check = await check_lines(session, run_id, now=books.clock.now())
        (problem,) = check.terms.problems
        assert problem.code == "limit_exceeded"
        assert "leaves 3 of 3 operations; never enough" in problem.detail
        refused = await runs.start(run_id)
        assert (refused.reason_code, refused.reason) == ("limit_exceeded", problem.detail)
        await set_level(books, 1)
        assert (await runs.start(run_id)).reason_code is None
        assert await used(books) == [(4, 1_000)]

    async def test_gives_back_the_lines_that_are_not_paid_once(self, books: Books) -> None:
        runs = Runs(books)
        await set_limits(books, row(amount_minor="1000", count=4))
        run_id = await runs.started(100, 200, 300, 400)
        for _ in range(2):
            await runs.cancel(run_id, lines="2-3")
        assert await used(books) == [(2, 700)]
        await runs.cancel(run_id)
        assert await used(books) == [(0, 0)]

    async def test_gives_back_what_was_in_flight(self, books: Books) -> None:
        runs = Runs(books)
        await set_limits(books, row(amount_minor="1000", count=4))
        await runs.started(100, 200)
        batch_id = await books.claim(new_id("claim"))
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        first, _ = await books.payouts()
        assert first.is_captured
        await books.execute("UPDATE chain_transaction SET status = 'abandoned'")
        await books.log.refund(OperatorAction(first.id, "a1"))
        assert await used(books) == [(1, 300 - first.amount_minor)]


async def test_a_check_uses_nothing(books: Books) -> None:
    await set_limits(books, row(count=1))
    request = books.request()
    for _ in range(2):
        async with books.worker.transaction() as session:
            await check_limits(
                session,
                user_id=request.user_id,
                operation=row()["operation"],
                asset="ETH",
                amount_minor=1,
                at=books.clock.now(),
            )
    assert await used(books) == [(0, None)]


async def test_the_crash_suite_would_notice_a_wrong_count(books: Books) -> None:
    await books.settled(100)
    key = "(SELECT key FROM limit_usage)"
    await books.tamper(f"UPDATE limit_usage SET amount_minor = 99 WHERE key = {key}")  # noqa: S608
    async with books.owner.transaction() as session:
        (note,) = await miscounted(session)
    assert "1 of payout of 99 ETH; there are 1 of 100" in note
    await books.tamper(f"UPDATE limit_usage SET amount_minor = 100 WHERE key = {key}")  # noqa: S608
