import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy.exc import DBAPIError

from domain.errors import InvariantError, LimitExceededError
from domain.limits import Operation
from ledger import chart, rules
from ledger.service import Ledger
from limits.reservation import give_back, give_back_part, reserve
from tests.support.books import CHAIN, Books, opened_books
from tests.support.limits import (
    frozen,
    patiently,
    release,
    row,
    set_level,
    set_limits,
    standings,
    used,
)

DAY = timedelta(hours=24)


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with opened_books(database_url, pool_size=40) as opened:
        for user_id in ("u1", "u2"):
            await opened.deposit(user_id, "ETH", 100_000)
            await opened.deposit(user_id, "USD", 100_000)
        yield opened


async def reserved(
    books: Books,
    resource_id: str,
    amount_minor: int = 1,
    *,
    times: int = 1,
    hold_id: str | None = None,
) -> None:
    async with books.worker.transaction() as session:
        await reserve(
            session,
            user_id="u1",
            operation=Operation.PAYOUT,
            asset="ETH",
            amount_minor=amount_minor,
            at=books.clock.now(),
            times=times,
            hold_id=hold_id,
            resource_id=resource_id,
        )


class TestReserve:
    async def test_refuses_the_first_unit_above_an_amount(self, books: Books) -> None:
        await set_limits(books, row(amount_minor="100"))
        assert await frozen(books, "p", 60)
        assert not await frozen(books, "q", 41)
        assert await frozen(books, "r", 40)
        assert not await frozen(books, "s", 1)
        assert await used(books) == [(2, 100)]
        assert await books.money() == (100_000 - 100, 100)

    async def test_refuses_one_too_many(self, books: Books) -> None:
        await set_limits(books, row(asset="*", count=2))
        assert await frozen(books, "p", 1)
        assert await frozen(books, "q", 1, asset="USD")
        assert not await frozen(books, "r", 1)
        assert await frozen(books, "other", 1, user_id="u2")
        assert await frozen(books, "send", 1, operation=Operation.SEND)
        assert await used(books) == [(2, None)]

    async def test_counts_only_its_own_asset(self, books: Books) -> None:
        await set_limits(books, row(count=1, amount_minor="10"))
        assert await frozen(books, "u", 999, asset="USD")
        assert await frozen(books, "p", 10)
        assert not await frozen(books, "q", 1)

    async def test_follows_the_level_of_the_user(self, books: Books) -> None:
        await set_limits(books, row(0, count=0), row(1, count=1))
        assert not await frozen(books, "p", 1)
        await set_level(books, 1)
        assert await frozen(books, "p", 1)
        assert not await frozen(books, "q", 1)

    async def test_caps_nothing_that_no_row_names(self, books: Books) -> None:
        await set_limits(books, row(1, count=0))
        assert await frozen(books, "p", 50_000)
        assert await used(books) == []

    async def test_counts_what_was_used_before_there_was_a_limit(self, books: Books) -> None:
        await frozen(books, "p", 70)
        await set_limits(books, row(amount_minor="100"))
        assert not await frozen(books, "q", 31)

    async def test_lets_a_use_leave_exactly_when_its_window_ends(self, books: Books) -> None:
        await set_limits(books, row(count=1))
        assert await frozen(books, "p", 1)
        books.clock.advance(DAY - timedelta(microseconds=1))
        assert not await frozen(books, "q", 1)
        books.clock.advance(timedelta(microseconds=1))
        assert await frozen(books, "q", 1)

    async def test_keeps_a_month_apart_from_a_day(self, books: Books) -> None:
        await set_limits(books, row(amount_minor="10"), row(window="30d", amount_minor="15"))
        assert await frozen(books, "p", 10)
        books.clock.advance(DAY)
        assert not await frozen(books, "q", 6)
        assert await frozen(books, "q", 5)
        books.clock.advance(timedelta(days=29))
        assert await used(books) == [(0, 0), (1, 5)]

    async def test_says_what_remains_and_when_there_is_enough_again(self, books: Books) -> None:
        await set_limits(books, row(amount_minor=str(10 * 10**6), asset="USD"))
        await books.deposit("u1", "USD", 10**8)
        assert await frozen(books, "p", 4 * 10**6, asset="USD")
        books.clock.advance(timedelta(hours=1))
        assert await frozen(books, "q", 4 * 10**6, asset="USD")
        with pytest.raises(LimitExceededError) as refused:
            async with books.worker.transaction() as session:
                await reserve(
                    session,
                    user_id="u1",
                    operation=Operation.PAYOUT,
                    asset="USD",
                    amount_minor=7 * 10**6,
                    at=books.clock.now(),
                    hold_id=None,
                    resource_id="r",
                )
        # The first of the two is not enough: it frees 4 of the 5 that are missing.
        assert refused.value.detail == (
            "The limit payout:USD:24h of level 0 leaves 2 of 10 USD;"
            " there is enough from 2026-01-02T13:00:00Z on."
        )

    async def test_says_so_where_there_is_never_enough(self, books: Books) -> None:
        await set_limits(books, row(count=3))
        with pytest.raises(LimitExceededError, match="leaves 3 of 3 operations; never enough"):
            await reserved(books, "run", times=4)

    async def test_counts_the_same_once(self, books: Books) -> None:
        await set_limits(books, row(count=1))
        await reserved(books, "p", 5)
        await reserved(books, "p", 5)
        assert await used(books) == [(1, None)]

    async def test_takes_no_negative_amount(self, books: Books) -> None:
        with pytest.raises(InvariantError):
            await reserved(books, "p", -1)
        with pytest.raises(InvariantError):
            await reserved(books, "p", 1, times=0)

    async def test_leaves_nothing_behind_where_the_freeze_fails(self, books: Books) -> None:
        await set_limits(books, row(count=5))
        with pytest.raises(Exception, match="available"):
            await frozen(books, "p", 10**9)
        assert await used(books) == [(0, None)]


class TestRelease:
    @pytest.mark.parametrize("is_expiry", [False, True])
    async def test_restores_the_limit(self, books: Books, is_expiry: bool) -> None:  # noqa: FBT001
        await set_limits(books, row(amount_minor="100", count=1))
        assert await frozen(books, "p", 100)
        await release(books, "p", 100, is_expiry=is_expiry)
        assert await used(books) == [(0, 0)]
        assert await frozen(books, "q", 100)
        await books.assert_sound()

    async def test_of_what_is_captured_does_not_happen(self, books: Books) -> None:
        await set_limits(books, row(count=1))
        assert await frozen(books, "p", 100)
        await books.ledger.post(
            rules.payout_dispatch(
                payout_id="p",
                hold_id="hold-p",
                user_id="u1",
                chain_id=CHAIN,
                asset="ETH",
                total_minor=100,
                at=books.clock.now(),
            )
        )
        assert await used(books) == [(1, None)]

    async def test_leaves_the_window_with_its_reservation(self, books: Books) -> None:
        """A use that is given back late must not count below zero once it has left."""
        await set_limits(books, row(amount_minor="100"))
        assert await frozen(books, "p", 60)
        books.clock.advance(DAY - timedelta(seconds=1))
        await release(books, "p", 60)
        assert await used(books) == [(0, 0)]
        books.clock.advance(timedelta(seconds=1))
        assert await used(books) == [(0, 0)]
        assert not await frozen(books, "q", 101)

    async def test_frees_a_resource_to_be_held_and_counted_anew(self, books: Books) -> None:
        await set_limits(books, row(count=1))
        await reserved(books, "p", 5, hold_id="first")
        await self._give_back(books, "p")
        await reserved(books, "p", 5, hold_id="second")
        assert await used(books) == [(1, None)]

    async def test_without_a_hold_restores_the_limit_once(self, books: Books) -> None:
        await set_limits(books, row(count=3, amount_minor="30"))
        await reserved(books, "p", 10)
        await reserved(books, "q", 10)
        await self._give_back(books, "p")
        await self._give_back(books, "p")
        assert await used(books) == [(1, 10)]

    async def test_of_parts_restores_each_once(self, books: Books) -> None:
        await set_limits(books, row(count=3, amount_minor="30"))
        await reserved(books, "run", 30, times=3)
        for key in ("a", "a", "b"):
            async with books.worker.transaction() as session:
                await give_back_part(session, "run", key=key, amount_minor=10, times=1)
        assert await used(books) == [(1, 10)]
        await self._give_back(books, "run")
        assert await used(books) == [(0, 0)]

    async def _give_back(self, books: Books, resource_id: str) -> None:
        async with books.worker.transaction() as session:
            await give_back(session, resource_id)

    async def test_is_on_record_for_good(self, books: Books) -> None:
        await frozen(books, "p", 10)
        for statement in ("DELETE FROM limit_usage", "UPDATE limit_usage SET times = 0"):
            with pytest.raises(DBAPIError):
                await books.execute(statement)


class TestParallelReservations:
    async def test_never_pass_a_limit_by_one_unit(self, books: Books) -> None:
        """Two hundred at once, against an amount of one asset and a count of all."""
        await set_limits(books, row(amount_minor="1000"), row(window="30d", asset="*", count=75))
        amounts = [(7 * n) % 23 + 1 for n in range(200)]
        accepted = await asyncio.gather(
            *(patiently(partial(frozen, books, f"p{n}", a)) for n, a in enumerate(amounts))
        )
        spent = sum(amount for amount, ok in zip(amounts, accepted, strict=True) if ok)
        assert await used(books) == [(sum(accepted), spent), (sum(accepted), None)]
        assert spent <= 1_000
        assert sum(accepted) <= 75
        # Nobody was refused who would have fitted in the end.
        refused = [a for a, ok in zip(amounts, accepted, strict=True) if not ok]
        assert sum(accepted) == 75 or spent + min(refused) > 1_000
        assert await books.money() == (100_000 - spent, spent)
        await books.assert_sound()

    async def test_stay_exact_while_others_release(self, books: Books) -> None:
        await set_limits(books, row(amount_minor="100"))
        first = [f"a{n}" for n in range(10)]
        assert all([await frozen(books, name, 10) for name in first])
        reservations = [patiently(partial(frozen, books, f"b{n}", 10)) for n in range(90)]
        releases = [patiently(partial(release, books, name, 10)) for name in first]
        # Interleaved, so that each release meets reservations that wait for the lock.
        turns = [w for n, free in enumerate(releases) for w in (free, *reservations[9 * n :][:9])]
        await asyncio.gather(*turns)
        ((count, spent),) = await used(books)
        assert spent == (await books.money())[1] == count * 10 <= 100
        await asyncio.gather(*(patiently(partial(frozen, books, f"c{n}", 10)) for n in range(20)))
        assert await used(books) == [(10, 100)]
        await books.assert_sound()

    async def test_of_several_limits_do_not_deadlock_with_the_ledger(self, books: Books) -> None:
        await set_limits(books, row(count=1000), row(operation=Operation.SEND, count=1000))

        async def both(n: int) -> None:
            """Two users' limits in one unit of work, in the fixed order, then one posting."""
            async with books.worker.transaction() as session:
                for user_id in ("u1", "u2"):
                    for operation in (Operation.PAYOUT, Operation.SEND):
                        await reserve(
                            session,
                            user_id=user_id,
                            operation=operation,
                            asset="ETH",
                            amount_minor=1,
                            at=books.clock.now(),
                            hold_id=None,
                            resource_id=f"{user_id}-{n}",
                        )
                sender, receiver = ("u1", "u2") if n % 2 else ("u2", "u1")
                posting = rules.transfer(
                    key=f"t{n}",
                    source=chart.available(sender),
                    target=chart.available(receiver),
                    asset="ETH",
                    amount_minor=1,
                    at=books.clock.now(),
                )
                await Ledger.post_in(session, [posting])

        others = (
            patiently(partial(frozen, books, f"p{n}", 1, user_id=f"u{n % 2 + 1}"))
            for n in range(40)
        )
        await asyncio.gather(*(patiently(partial(both, n)) for n in range(40)), *others)
        assert await used(books) == [(60, None), (40, None)]
        await books.assert_sound()


class TestStanding:
    async def test_says_what_is_used_and_remains_and_when_it_renews(self, books: Books) -> None:
        await set_limits(
            books,
            row(amount_minor="100", count=9),
            row(window="30d", asset="*", count=2),
            row(operation=Operation.PURCHASE, count=4),
        )
        start = books.clock.now()
        await frozen(books, "gone", 5)
        await release(books, "gone", 5)
        books.clock.advance(timedelta(hours=2))
        await frozen(books, "p", 30)
        books.clock.advance(timedelta(hours=3))
        await frozen(books, "q", 30)
        day, month, purchase = await standings(books)
        assert (day.used_count, day.used_minor) == (2, 60)
        assert (day.remaining_count, day.remaining_minor) == (7, 40)
        # What was given back does not renew anything.
        assert day.renews_at == start + timedelta(hours=2) + DAY
        assert (month.remaining_count, month.remaining_minor) == (0, None)
        assert month.renews_at == start + timedelta(days=30, hours=2)
        assert (purchase.used_count, purchase.renews_at) == (0, None)
        assert await standings(books, operation=Operation.PURCHASE) == [purchase]
        assert await standings(books, asset="USD") == [month]
