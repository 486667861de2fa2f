import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import LimitExceededError
from domain.policy import LimitReservation
from ledger import rules
from ledger.posting import Posting
from models.ledger import LimitCounter
from tests.support.books import Books, opened_books

TODAY = datetime(2026, 1, 1, tzinfo=UTC)


def counter(
    amount_minor: int,
    *,
    name: str = "day",
    cap: int | None = None,
    times: int | None = None,
    window_start: datetime = TODAY,
) -> LimitReservation:
    return LimitReservation(name, window_start, amount_minor, cap, times)


def freeze(
    books: Books, payout_id: str, amount_minor: int, *limits: LimitReservation, user_id: str = "u1"
) -> Posting:
    return rules.payout_freeze(
        payout_id=payout_id,
        hold_id=f"hold-{payout_id}",
        user_id=user_id,
        asset="ETH",
        total_minor=amount_minor,
        limits=limits,
        expires_at=None,
        at=books.clock.now(),
    )


def release(books: Books, payout_id: str, amount_minor: int) -> Posting:
    return rules.payout_release(
        payout_id=payout_id,
        hold_id=f"hold-{payout_id}",
        user_id="u1",
        asset="ETH",
        total_minor=amount_minor,
        is_expiry=False,
        at=books.clock.now(),
    )


async def used(books: Books, name: str = "day") -> tuple[int, int]:
    async with books.owner.transaction() as session:
        row = await session.get_one(LimitCounter, ("u1", name, TODAY))
        return row.amount_minor, row.count


class TestLimit:
    async def test_stops_an_amount_above_its_cap(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 1_000)
        await books.ledger.post(freeze(books, "p", 60, counter(60, cap=100)))
        with pytest.raises(LimitExceededError):
            await books.ledger.post(freeze(books, "q", 41, counter(41, cap=100)))
        await books.ledger.post(freeze(books, "r", 40, counter(40, cap=100)))
        assert await used(books) == (100, 2)
        assert await books.money() == (900, 100)

    async def test_stops_one_too_many(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 1_000)
        for n in range(2):
            await books.ledger.post(freeze(books, f"p{n}", 1, counter(1, times=2)))
        with pytest.raises(LimitExceededError):
            await books.ledger.post(freeze(books, "q", 1, counter(1, times=2)))
        assert await used(books) == (2, 2)

    async def test_counts_each_window_and_each_user_apart(self, books: Books) -> None:
        for user_id in ("u1", "u2"):
            await books.deposit(user_id, "ETH", 1_000)
            limit = counter(100, cap=100)
            await books.ledger.post(freeze(books, user_id, 100, limit, user_id=user_id))
        tomorrow = counter(100, cap=100, window_start=TODAY + timedelta(days=1))
        await books.ledger.post(freeze(books, "next", 100, tomorrow))
        assert await used(books) == (100, 1)

    async def test_gets_back_what_is_released_and_keeps_what_is_captured(
        self, books: Books
    ) -> None:
        await books.deposit("u1", "ETH", 1_000)
        limits = (counter(100, cap=100, times=1), counter(100, name="hour", cap=500))
        await books.ledger.post(freeze(books, "p", 100, *limits))
        await books.ledger.post(release(books, "p", 100))
        assert (await used(books), await used(books, "hour")) == ((0, 0), (0, 0))
        await books.ledger.post(freeze(books, "q", 100, *limits))
        await books.ledger.post(
            rules.payout_dispatch(
                payout_id="q",
                hold_id="hold-q",
                user_id="u1",
                chain_id="c",
                asset="ETH",
                total_minor=100,
                at=books.clock.now(),
            )
        )
        assert await used(books) == (100, 1)

    async def test_is_not_given_back_twice(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 1_000)
        await books.ledger.post(freeze(books, "p", 100, counter(100)))
        await books.ledger.post(freeze(books, "q", 100, counter(100)))
        await asyncio.gather(*(books.ledger.post(release(books, "p", 100)) for _ in range(5)))
        assert await used(books) == (100, 1)

    async def test_counts_the_lines_of_a_bulk_together(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 1_000)
        with pytest.raises(LimitExceededError):
            await books.ledger.post(
                *(freeze(books, f"p{n}", 10, counter(10, cap=95)) for n in range(10))
            )
        assert await books.money() == (1_000, 0)

    @pytest.mark.parametrize(("cap", "times"), [(100, None), (None, 10)])
    async def test_is_not_passed_by_requests_in_parallel(
        self, database_url: str, cap: int | None, times: int | None
    ) -> None:
        async with opened_books(database_url, pool_size=30) as books:
            await books.deposit("u1", "ETH", 10_000)
            outcomes = await asyncio.gather(
                *(
                    books.ledger.post(freeze(books, f"p{n}", 10, counter(10, cap=cap, times=times)))
                    for n in range(40)
                ),
                return_exceptions=True,
            )
            refused = [o for o in outcomes if isinstance(o, BaseException)]
            assert {type(o) for o in refused} == {LimitExceededError}
            assert len(refused) == 30
            assert await used(books) == (100, 10)
            assert await books.money() == (9_900, 100)

    async def test_never_deadlocks_while_holds_are_placed_and_released(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 10_000)
        names = [f"limit{n}" for n in range(6)]

        async def turn(worker: int) -> None:
            order = names if worker % 2 else names[::-1]
            for n in range(8):
                limits = tuple(counter(1, name=name) for name in order)
                await books.ledger.post(freeze(books, f"{worker}:{n}", 1, *limits))
                await books.ledger.post(release(books, f"{worker}:{n}", 1))

        await asyncio.gather(*(turn(worker) for worker in range(6)))
        assert [await used(books, name) for name in names] == [(0, 0)] * 6
