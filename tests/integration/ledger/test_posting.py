import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel, func, select

from domain.errors import (
    DatabaseUnavailableError,
    HoldStateError,
    IdempotencyConflictError,
    InsufficientAvailableBalanceError,
    UnbalancedTransactionError,
)
from domain.money import UINT256_MAX
from ledger import chart, rules
from ledger.posting import Entry, HoldChange, HoldOperation, Posted, Posting
from ledger.queries import account_balance, asset_sums, customer_balances, statement
from ledger.service import POST_SQL, Ledger
from models.ledger import AuditLink, Hold, LedgerTransaction
from tests.support.books import CHAIN, Books, opened_books

ROWS = (LedgerTransaction, Hold, AuditLink)


def freeze(books: Books, payout_id: str, total_minor: int, *, user_id: str = "u1") -> Posting:
    return rules.payout_freeze(
        payout_id=payout_id,
        hold_id=f"hold-{payout_id}",
        user_id=user_id,
        asset="ETH",
        total_minor=total_minor,
        limits=(),
        expires_at=None,
        at=books.clock.now(),
    )


def release(books: Books, payout_id: str, total_minor: int, *, is_expiry: bool = False) -> Posting:
    return rules.payout_release(
        payout_id=payout_id,
        hold_id=f"hold-{payout_id}",
        user_id="u1",
        asset="ETH",
        total_minor=total_minor,
        is_expiry=is_expiry,
        at=books.clock.now(),
    )


def dispatch(books: Books, payout_id: str, total_minor: int) -> Posting:
    return rules.payout_dispatch(
        payout_id=payout_id,
        hold_id=f"hold-{payout_id}",
        user_id="u1",
        chain_id=CHAIN,
        asset="ETH",
        total_minor=total_minor,
        at=books.clock.now(),
    )


def move(
    books: Books, key: str, amount_minor: int, *, source: str = "x", target: str = "y"
) -> Posting:
    return rules.transfer(
        key=key,
        source=source,
        target=target,
        asset="ETH",
        amount_minor=amount_minor,
        at=books.clock.now(),
    )


async def hold_status(books: Books, payout_id: str) -> tuple[str, int]:
    async with books.owner.transaction() as session:
        hold = await session.get_one(Hold, f"hold-{payout_id}")
        return hold.status, hold.captured_minor


async def count(books: Books, table: type[SQLModel]) -> int:
    async with books.owner.transaction() as session:
        return (await session.exec(select(func.count()).select_from(table))).one()


class TestBalance:
    async def test_is_refused_by_the_database_when_entries_do_not_sum_to_zero(
        self, books: Books
    ) -> None:
        for entries in (
            '[["a", "ETH", "-1"], ["b", "ETH", "2"]]',
            '[["a", "ETH", "-1"], ["b", "USD", "1"]]',
            '[["a", "ETH", "0"], ["b", "ETH", "0"]]',
            '[["a", "ETH", "0"]]',
            "[]",
        ):
            document = (
                '[{"key": "k", "rule": "r", "resource": null, "reverses": null, "hold": null,'
                f' "effective_at": "2026-01-01T00:00:00Z", "entries": {entries}}}]'
            )
            with pytest.raises(DBAPIError, match="sum to zero"):
                async with books.worker.statement() as connection:
                    await connection.exec_driver_sql(POST_SQL, {"postings": document})
        assert await count(books, LedgerTransaction) == 0

    def test_is_refused_where_it_is_built_too(self, books: Books) -> None:
        with pytest.raises(UnbalancedTransactionError):
            Posting("k", "r", None, (Entry("a", "ETH", 1),), books.clock.now())

    async def test_may_hold_several_assets_each_at_zero(self, books: Books) -> None:
        entries = (
            Entry("a", "ETH", -5),
            Entry("b", "ETH", 5),
            Entry("a", "USD", 7),
            Entry("b", "USD", -7),
        )
        await books.ledger.post(Posting("k", "swap", None, entries, books.clock.now()))
        assert (await books.balance("b"), await books.balance("a", "USD")) == (5, 7)
        await books.assert_sound()

    async def test_keeps_uint256_exact(self, books: Books) -> None:
        await books.deposit("u1", "ETH", UINT256_MAX)
        await books.ledger.post(freeze(books, "p", UINT256_MAX - 1))
        assert await books.money() == (1, UINT256_MAX - 1)
        assert await books.omnibus() == UINT256_MAX
        await books.assert_sound()

    async def test_of_a_customer_never_goes_below_zero(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 10)
        with pytest.raises(InsufficientAvailableBalanceError):
            await books.ledger.post(move(books, "k", 11, source=chart.available("u1")))
        assert await books.money() == (10, 0)


class TestHold:
    async def test_placed_and_released_leaves_everything_as_it_was(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40))
        assert await books.money() == (60, 40)
        await books.ledger.post(release(books, "p", 40))
        assert await books.money() == (100, 0)
        assert await hold_status(books, "p") == ("released", 0)

    async def test_expires_with_its_own_status(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40))
        await books.ledger.post(release(books, "p", 40, is_expiry=True))
        assert (await books.money(), await hold_status(books, "p")) == ((100, 0), ("expired", 0))

    async def test_captures_into_flight(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40))
        await books.ledger.post(dispatch(books, "p", 40))
        assert (await books.money(), await books.in_flight()) == ((60, 0), 40)
        assert await hold_status(books, "p") == ("captured", 40)

    async def test_never_captures_more_than_it_holds(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40), freeze(books, "q", 60))
        with pytest.raises(HoldStateError):
            await books.ledger.post(dispatch(books, "p", 41))
        assert await books.money() == (0, 100)
        await books.assert_sound()

    async def test_captured_in_part_gives_the_rest_back(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40))
        hold = HoldChange(HoldOperation.CAPTURE, "hold-p", "u1", "ETH", 30)
        entries = (
            Entry(chart.held("u1"), "ETH", -40),
            Entry(chart.inflight(CHAIN), "ETH", 30),
            Entry(chart.available("u1"), "ETH", 10),
        )
        await books.ledger.post(Posting("k", "part", "p", entries, books.clock.now(), hold))
        assert (await books.money(), await books.in_flight()) == ((70, 0), 30)
        assert await hold_status(books, "p") == ("captured", 30)
        await books.assert_sound()

    async def test_captured_in_part_never_strands_the_rest(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40))
        with pytest.raises(HoldStateError):
            await books.ledger.post(dispatch(books, "p", 30))
        assert await books.money() == (60, 40)

    async def test_released_in_part_never_strands_the_rest(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40))
        with pytest.raises(HoldStateError):
            await books.ledger.post(release(books, "p", 30))
        assert await books.money() == (60, 40)

    async def test_ends_once(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40), freeze(books, "q", 40))
        await books.ledger.post(dispatch(books, "p", 40))
        with pytest.raises(HoldStateError):
            await books.ledger.post(release(books, "p", 40))
        assert await books.money() == (20, 40)

    async def test_ends_one_way_when_two_race(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 1_000)
        for n in range(10):
            await books.ledger.post(freeze(books, f"p{n}", 40), freeze(books, f"q{n}", 40))
            outcomes = await asyncio.gather(
                books.ledger.post(dispatch(books, f"p{n}", 40)),
                books.ledger.post(release(books, f"p{n}", 40)),
                return_exceptions=True,
            )
            refused = [type(o) for o in outcomes if isinstance(o, BaseException)]
            assert refused == [HoldStateError]
        await books.assert_sound()

    async def test_of_another_owner_is_not_touched(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.deposit("u2", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40), freeze(books, "q", 40, user_id="u2"))
        foreign = rules.payout_release(
            payout_id="x",
            hold_id="hold-q",
            user_id="u1",
            asset="ETH",
            total_minor=40,
            is_expiry=False,
            at=books.clock.now(),
        )
        with pytest.raises(HoldStateError):
            await books.ledger.post(foreign)
        assert await books.money("u2") == (60, 40)

    async def test_is_the_only_way_to_held_money(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        await books.ledger.post(freeze(books, "p", 40))
        for posting in (
            move(books, "out", 10, source=chart.held("u1"), target=chart.available("u1")),
            move(books, "in", 10, source=chart.available("u1"), target=chart.held("u1")),
        ):
            with pytest.raises(HoldStateError):
                await books.ledger.post(posting)
        assert await books.money() == (60, 40)

    async def test_is_not_undone_by_a_reversal(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        (placed,) = await books.ledger.post(freeze(books, "p", 40))
        await books.ledger.post(freeze(books, "q", 40))
        with pytest.raises(HoldStateError):
            await books.ledger.reverse(placed.transaction_id, at=books.clock.now())
        await books.ledger.post(dispatch(books, "p", 40), dispatch(books, "q", 40))
        await books.assert_sound()


class TestIdempotency:
    async def test_posts_a_key_once_however_often_it_is_sent(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100)
        before = await count(books, LedgerTransaction)
        outcomes = await asyncio.gather(
            *(
                books.ledger.post(move(books, "k", 7, source=chart.available("u1")))
                for _ in range(20)
            )
        )
        flat = [posted for (posted,) in outcomes]
        assert sum(posted.is_new for posted in flat) == 1
        assert len({posted.transaction_id for posted in flat}) == 1
        assert await count(books, LedgerTransaction) == before + 1
        assert await books.money() == (93, 0)

    async def test_posts_a_key_once_within_one_call(self, books: Books) -> None:
        posted = await books.ledger.post(move(books, "k", 7), move(books, "k", 7))
        assert len({p.transaction_id for p in posted}) == 1
        assert await books.balance("y") == 7
        await books.assert_sound()

    async def test_refuses_two_meanings_of_a_key_within_one_call(self, books: Books) -> None:
        with pytest.raises(IdempotencyConflictError):
            await books.ledger.post(move(books, "k", 7), move(books, "k", 8))
        assert await books.balance("y") == 0

    async def test_refuses_a_known_key_with_another_content(self, books: Books) -> None:
        await books.ledger.post(move(books, "k", 7))
        for other in (move(books, "k", 8), move(books, "k", 7, target="z")):
            with pytest.raises(IdempotencyConflictError):
                await books.ledger.post(other)
        assert await books.balance("y") == 7

    async def test_ignores_when_it_is_repeated(self, books: Books) -> None:
        (first,) = await books.ledger.post(move(books, "k", 7))
        books.wait(100)
        (second,) = await books.ledger.post(move(books, "k", 7))
        assert second == Posted("k", first.transaction_id, is_new=False)

    async def test_lets_one_of_two_contents_win_a_race(self, books: Books) -> None:
        outcomes = await asyncio.gather(
            *(books.ledger.post(move(books, "k", 1 + n % 2)) for n in range(10)),
            return_exceptions=True,
        )
        lost = [o for o in outcomes if isinstance(o, Exception)]
        assert {type(o) for o in lost} == {IdempotencyConflictError}
        assert len(lost) == 5
        assert await count(books, LedgerTransaction) == 1

    async def test_answers_in_the_order_of_the_call(self, books: Books) -> None:
        await books.ledger.post(move(books, "k5", 1))
        keys = [f"k{n}" for n in (7, 5, 9, 1)]
        posted = await books.ledger.post(*(move(books, key, 1) for key in keys))
        assert [p.key for p in posted] == keys
        assert [p.is_new for p in posted] == [True, False, True, True]

    async def test_posts_nothing_when_asked_for_nothing(self, books: Books) -> None:
        assert await books.ledger.post() == []


class TestConcurrency:
    async def test_lets_exactly_as_many_freezes_through_as_the_balance_covers(
        self, database_url: str
    ) -> None:
        async with opened_books(database_url, pool_size=40) as books:
            await books.deposit("u1", "ETH", 1_000)
            gate = asyncio.Semaphore(60)

            async def one(n: int) -> bool:
                async with gate:
                    try:
                        await books.ledger.post(freeze(books, f"p{n}", 100))
                    except InsufficientAvailableBalanceError:
                        return False
                    return True

            assert sum(await asyncio.gather(*(one(n) for n in range(200)))) == 10
            assert await books.money() == (0, 1_000)
            await books.assert_sound()

    async def test_never_deadlocks_bulks_over_the_same_accounts_in_opposite_orders(
        self, books: Books
    ) -> None:
        users = [f"w{n}" for n in range(30)]
        await books.ledger.post(
            *(
                move(books, f"fund:{u}", 1_000, source="capital", target=chart.available(u))
                for u in users
            )
        )

        def bulk(name: str, order: list[str]) -> list[Posting]:
            pairs = itertools.pairwise(order)
            return [
                move(books, f"{name}:{n}", 1, source=chart.available(a), target=chart.available(b))
                for n, (a, b) in enumerate(pairs)
            ]

        for turn in range(5):
            await asyncio.gather(
                *(
                    books.ledger.post(*bulk(f"{turn}:{n}", users if n % 2 else users[::-1]))
                    for n in range(8)
                )
            )
        await books.assert_sound()

    async def test_never_deadlocks_over_new_accounts(self, books: Books) -> None:
        for turn in range(10):
            names = [f"new{turn}:{n}" for n in range(20)]
            await asyncio.gather(
                *(
                    books.ledger.post(
                        *(
                            move(books, f"{turn}:{n}:{name}", 1, target=name)
                            for name in (names if n % 2 else names[::-1])
                        )
                    )
                    for n in range(6)
                )
            )
        await books.assert_sound()


class TestBulk:
    async def test_of_five_thousand_is_posted_in_one_call(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 5_000)
        before = await count(books, LedgerTransaction)
        await books.ledger.post(*(freeze(books, f"p{n}", 1) for n in range(5_000)))
        assert await count(books, LedgerTransaction) == before + 5_000
        assert await books.money() == (0, 5_000)
        await books.assert_sound()

    async def test_of_five_thousand_is_refused_as_a_whole_for_one_line(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 4_999)
        before = [await count(books, t) for t in ROWS]
        with pytest.raises(InsufficientAvailableBalanceError):
            await books.ledger.post(*(freeze(books, f"p{n}", 1) for n in range(5_000)))
        after = [await count(books, t) for t in ROWS]
        assert after == before
        assert await books.money() == (4_999, 0)


class TestReversal:
    async def test_posts_the_opposite_once(self, books: Books) -> None:
        (first,) = await books.ledger.post(move(books, "k", 7))
        reversals = await asyncio.gather(
            *(books.ledger.reverse(first.transaction_id, at=books.clock.now()) for _ in range(5))
        )
        books.wait(5)
        again = await books.ledger.reverse(first.transaction_id, at=books.clock.now())
        assert len({r.transaction_id for r in [*reversals, again]}) == 1
        assert sum(r.is_new for r in [*reversals, again]) == 1
        assert (await books.balance("x"), await books.balance("y")) == (0, 0)
        await books.assert_sound()


class TestReading:
    async def test_gives_balances_as_of_a_moment(self, books: Books) -> None:
        start = books.clock.now()
        await books.deposit("u1", "ETH", 100)
        books.wait(60)
        await books.ledger.post(freeze(books, "p", 40))

        async def at(seconds: int) -> list[tuple[int, int, int]]:
            async with books.worker.transaction() as session:
                moment = start + timedelta(seconds=seconds)
                found = await customer_balances(session, "u1", as_of=moment)
            return [(b.available_minor, b.held_minor, b.posted_minor) for b in found]

        assert await at(-1) == []
        assert await at(0) == await at(59) == [(100, 0, 100)]
        assert await at(60) == [(60, 40, 100)]

    async def test_pages_a_statement_without_gap_or_repeat(self, books: Books) -> None:
        for n in range(7):
            await books.ledger.post(move(books, f"k{n}", n + 1))
        seen: list[Any] = []
        before: int | None = None
        async with books.worker.transaction() as session:
            while page := await statement(session, code="y", asset="ETH", before=before, limit=3):
                seen += page
                before = page[-1].position
        assert [line.position for line in seen] == list(range(7, 0, -1))
        assert [line.transaction_key for line in seen] == [f"k{n}" for n in range(6, -1, -1)]
        assert seen[0].balance_after_minor == 28
        for newer, older in itertools.pairwise(seen):
            assert newer.balance_after_minor - newer.amount_minor == older.balance_after_minor

    async def test_sums_every_asset_to_zero(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 5)
        await books.deposit("u1", "USD", 6)
        async with books.worker.transaction() as session:
            assert await asset_sums(session) == {"ETH": 0, "USD": 0}
            assert await account_balance(session, "nobody", "ETH") == 0


class TestFailure:
    async def test_that_refuses_nothing_is_not_its_own_cause(self, books: Books) -> None:
        """Temporal writes down each cause: it would not come to an end, and nobody else a turn."""
        await books.deposit("u1", "ETH", 10)
        posting = freeze(books, "late", 1)
        async with books.worker.transaction() as holder:
            await holder.execute(text("SELECT pg_advisory_xact_lock(7309)"))
            with pytest.raises(DatabaseUnavailableError) as caught:
                await _post_within_a_moment(books, posting)

        causes: list[BaseException] = [caught.value]
        while (cause := causes[-1].__cause__) is not None:
            assert cause not in causes
            causes.append(cause)


async def _post_within_a_moment(books: Books, posting: Posting) -> None:
    async with books.worker.transaction() as session:
        await session.execute(text("SET LOCAL lock_timeout = '50ms'"))
        await Ledger.post_in(session, [posting])
