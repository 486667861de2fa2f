"""A line that the chain did not pay is paid again, once, and only when its failure is final."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from domain.errors import PayoutStateError
from domain.payouts import Acceptance, PayoutRequest, PayoutStatus
from models.payouts import Payout
from runs.queries import LineFilter, lines_of
from tests.support.books import FEE_MINOR, Books
from tests.support.runs import Runs, allow_dispersals, stranger

FUNDS_MINOR = 10_000
AMOUNTS = (100, 200, 300)


@pytest.fixture
async def runs(books: Books) -> AsyncIterator[Runs]:
    await books.deposit("u1", "ETH", FUNDS_MINOR)
    await allow_dispersals(books)
    yield Runs(books)
    await books.assert_sound()


async def sent(books: Books) -> str:
    batch_id = await books.claim()
    await books.runner.prepare(batch_id)
    assert await books.log.allocate(batch_id)
    await books.signer.sign(batch_id)
    await books.runner.broadcast(batch_id)
    return batch_id


async def paid(books: Books) -> str:
    batch_id = await sent(books)
    books.chain.mine(3)
    await books.watch.watch_once()
    await books.log.settle(batch_id)
    return batch_id


async def failed_line(runs: Runs) -> tuple[str, Payout]:
    """Return a run, and its line 3, which the chain did not pay."""
    run_id = await runs.started(*AMOUNTS)
    runs.books.chain.swallows.add(stranger(3))
    await paid(runs.books)
    line = (await runs.lines(run_id))[1]
    assert line.status == PayoutStatus.REFUNDED
    return run_id, line


def again(books: Books, line: Payout, *, key: str = "again") -> PayoutRequest:
    request = books.request(amount_minor=line.amount_minor, destination=line.destination, key=key)
    return replace(request, retry_of=line.id)


async def refused(books: Books, request: PayoutRequest) -> Acceptance:
    acceptance = await books.desk.freeze(request)
    assert (acceptance.status, acceptance.reason_code) == (
        PayoutStatus.REFUSED,
        PayoutStateError.code,
    )
    return acceptance


class TestRetry:
    async def test_pays_a_failed_line_once(self, runs: Runs) -> None:
        books = runs.books
        run_id, line = await failed_line(runs)
        books.chain.swallows.clear()
        before, _ = await books.money()
        first = await books.desk.freeze(again(books, line))
        await refused(books, again(books, line, key="another"))
        assert await books.money() == (before - 200 - FEE_MINOR, 200 + FEE_MINOR)
        await paid(books)

        assert (await books.payout(first.payout_id)).status == PayoutStatus.SETTLED
        await refused(books, again(books, line, key="a third"))
        assert await books.money() == (before - 200 - FEE_MINOR, 0)
        async with books.worker.transaction() as session:
            shown = await lines_of(session, run_id, LineFilter(), after=0, limit=10)
        assert [found.retried_by for found in shown] == [None, first.payout_id, None]

    async def test_by_many_at_once_holds_once(self, runs: Runs) -> None:
        books = runs.books
        _, line = await failed_line(runs)
        answers = await asyncio.gather(
            *(books.desk.freeze(again(books, line, key=f"k{n}")) for n in range(4))
        )

        assert sorted(a.status for a in answers) == ["ready", "refused", "refused", "refused"]
        assert (await books.money())[1] == 200 + FEE_MINOR

    async def test_that_came_to_nothing_may_be_made_again(self, runs: Runs) -> None:
        books = runs.books
        _, line = await failed_line(runs)
        first = await books.desk.freeze(again(books, line))
        await books.desk.cancel(first.payout_id)
        second = await books.desk.freeze(again(books, line, key="second"))
        books.chain.reverts.add(line.destination)
        await paid(books)
        third = await books.desk.freeze(again(books, line, key="third"))

        assert (await books.payout(second.payout_id)).status == PayoutStatus.REFUNDED
        assert third.status == PayoutStatus.READY

    async def test_of_a_line_that_did_not_fail_is_refused(self, runs: Runs) -> None:
        books = runs.books
        run_id = await runs.started(*AMOUNTS)
        await refused(books, again(books, (await runs.lines(run_id))[0]))
        await paid(books)
        await refused(books, again(books, (await runs.lines(run_id))[0], key="settled"))

    async def test_waits_while_a_reorg_asks_the_chain_once_more(self, runs: Runs) -> None:
        books = runs.books
        _, line = await failed_line(runs)
        await books.execute("UPDATE chain_transaction SET status = 'broadcast'")
        await refused(books, again(books, line))

    async def test_is_refused_when_a_reorg_has_paid_it(self, runs: Runs) -> None:
        books = runs.books
        _, line = await failed_line(runs)
        await books.execute("UPDATE chain_transaction SET failed_places = NULL")
        await refused(books, again(books, line))

    @pytest.mark.parametrize(
        "change", [{"amount": "201"}, {"destination": stranger(2)}, {"user_id": "u2"}]
    )
    async def test_pays_nothing_but_what_failed(self, runs: Runs, change: dict[str, Any]) -> None:
        books = runs.books
        await books.deposit("u2", "ETH", 1_000)
        _, line = await failed_line(runs)
        await refused(books, replace(again(books, line), **change))
