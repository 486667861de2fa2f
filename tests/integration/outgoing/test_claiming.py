"""Who leaves when, from the rows of the database."""

from dataclasses import replace
from datetime import datetime

import pytest

from domain.errors import FeeAboveCeilingError
from domain.ids import new_id
from domain.payouts import Priority
from domain.ports import FeeQuote
from models.payouts import Payout
from payouts.explain import explain
from payouts.queries import payout_detail
from tests.support.books import CHAIN, DESTINATION, HOT, OTHER_DESTINATION, Books

ECONOMY, NORMAL, URGENT = Priority.ECONOMY, Priority.NORMAL, Priority.URGENT


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    for user_id in ("u1", "u2"):
        await books.deposit(user_id, "ETH", 1_000_000)
    await books.execute("UPDATE chain SET batch_wait_ms = 1000, economy_wait_ms = 60000")


async def ask(books: Books, priority: Priority = NORMAL, **asked: object) -> str:
    request = replace(books.request(**asked), priority=priority)  # type: ignore[arg-type]
    accepted = await books.desk.freeze(request)
    books.wait(0.001)
    return accepted.payout_id


async def claimed(books: Books) -> list[str]:
    """Return the ids of the payouts that leave now."""
    batch_id = await books.log.claim(chain_id=CHAIN, wallet_address=HOT, claim_key=new_id("claim"))
    rows = {row.id for row in await books.transactions(batch_id)} if batch_id else set()
    return [p.id for p in await books.payouts() if p.chain_transaction_id in rows]


async def set_rate(books: Books, rate_minor: int, *, seen_at: datetime | None = None) -> None:
    moment = (seen_at or books.clock.now()).isoformat()
    await books.execute(
        "INSERT INTO chain_head (chain_id, height, fee_rate_minor, seen_at)"  # noqa: S608
        f" VALUES ('{CHAIN}', 1, {rate_minor}, '{moment}') ON CONFLICT (chain_id)"
        f" DO UPDATE SET fee_rate_minor = {rate_minor}, seen_at = '{moment}'"
    )


async def waits_for(books: Books, payout_id: str) -> tuple[str | None, str]:
    async with books.worker.transaction() as session:
        detail = await payout_detail(session, payout_id, user_id=None)
        said = await explain(session, detail, now=books.clock.now())
    return said.waiting_for, said.sentence


class TestAge:
    async def test_lets_urgent_ones_leave_before_normal_before_economical(
        self, books: Books
    ) -> None:
        economy, normal, urgent = [await ask(books, p) for p in (ECONOMY, NORMAL, URGENT)]
        assert await claimed(books) == [urgent]
        assert (await waits_for(books, normal))[0] == "company"
        assert await claimed(books) == []
        books.wait(1)
        assert (await waits_for(books, normal))[0] == "batch"
        assert await claimed(books) == [normal]
        _, sentence = await waits_for(books, economy)
        assert sentence == "Approved; waiting for company until 2026-01-01 12:01:00 UTC."
        books.wait(60)
        assert await claimed(books) == [economy]

    async def test_is_no_matter_where_a_transaction_has_room(self, books: Books) -> None:
        disperse = "UPDATE chain SET outputs_max = 3, disperse_address = '0x1'"
        await books.execute(disperse)
        economy, normal, urgent, _ = [
            await ask(books, p) for p in (ECONOMY, NORMAL, URGENT, ECONOMY)
        ]
        assert set(await claimed(books)) == {economy, normal, urgent}


class TestValue:
    async def test_lets_an_asset_leave_that_is_worth_enough(self, books: Books) -> None:
        await books.execute("UPDATE chain SET batch_value_minor = 300")
        first = await ask(books, amount_minor=100)
        assert await claimed(books) == []
        second = await ask(books, ECONOMY, amount_minor=200)
        assert await claimed(books) == [first, second]


class TestFeeRate:
    async def test_keeps_waiting_whom_it_is_too_high_for(self, books: Books) -> None:
        await books.execute(
            "UPDATE chain SET normal_fee_ceiling_minor = 100, economy_fee_ceiling_minor = 50"
        )
        economy, normal, urgent = [await ask(books, p) for p in (ECONOMY, NORMAL, URGENT)]
        books.wait(60)
        await set_rate(books, 101)
        assert await claimed(books) == [urgent]
        code, sentence = await waits_for(books, normal)
        assert (code, sentence) == (
            "fees",
            "Approved; waiting for lower fees: now 101, normal payouts leave up to 100.",
        )
        await set_rate(books, 100)
        assert await claimed(books) == [normal]
        await set_rate(books, 50)
        assert await claimed(books) == [economy]

    async def test_is_no_matter_once_it_is_old(self, books: Books) -> None:
        await books.execute("UPDATE chain SET normal_fee_ceiling_minor = 100")
        await set_rate(books, 500)
        books.wait(30)
        payout_id = await ask(books)
        books.wait(1)
        assert await claimed(books) == [payout_id]

    async def test_above_the_chains_own_ceiling_is_for_planning_to_judge(
        self, books: Books
    ) -> None:
        payout_id = await ask(books)
        books.wait(1)
        await set_rate(books, 1_001)
        assert await claimed(books) == [payout_id]

    async def test_is_bounded_by_the_highest_priority_of_a_batch(self, books: Books) -> None:
        await books.execute("UPDATE chain SET normal_fee_ceiling_minor = 100")
        books.chain.quote = FeeQuote(120, 300, 1)
        await ask(books)
        books.wait(1)
        batch_id = await books.claim()
        with pytest.raises(FeeAboveCeilingError):
            await books.runner.prepare(batch_id)
        await ask(books, URGENT)
        await books.runner.prepare(await books.claim())
        books.chain.quote = FeeQuote(60, 150, 1)
        await books.runner.prepare(batch_id)
        (row,) = await books.transactions(batch_id)
        assert [a.max_fee_minor for a in await books.attempts(row.id)] == [100]


class TestTurns:
    async def test_are_taken_by_each_customer(self, books: Books) -> None:
        await books.execute("UPDATE chain SET batch_size = 4")
        many = [await ask(books) for _ in range(6)]
        single = await ask(books, user_id="u2")
        assert set(await claimed(books)) == {*many[:3], single}

    async def test_go_on_with_who_has_more_when_others_run_out(self, books: Books) -> None:
        await books.execute("UPDATE chain SET batch_size = 20")
        many = [await ask(books) for _ in range(25)]
        single = await ask(books, user_id="u2")
        assert set(await claimed(books)) == {*many[:19], single}
        books.wait(1)
        assert await claimed(books) == many[19:]

    async def test_are_taken_by_the_urgent_first(self, books: Books) -> None:
        await books.execute("UPDATE chain SET batch_size = 2")
        await ask(books)
        await ask(books, user_id="u2")
        first, second, third = [await ask(books, URGENT) for _ in range(3)]
        other = await ask(books, URGENT, user_id="u2")
        assert set(await claimed(books)) == {first, other}
        assert set(await claimed(books)) == {second, third}

    async def test_pass_over_the_frozen_and_the_denied(self, books: Books) -> None:
        await ask(books)
        await ask(books, user_id="u2", destination=OTHER_DESTINATION)
        free = await ask(books, user_id="u2")
        books.wait(1)
        await books.execute(
            "INSERT INTO user_freeze (id, user_id, created_at) VALUES ('f', 'u1', now())",
            "INSERT INTO address_screening VALUES"  # noqa: S608
            f" ('{CHAIN}', '{OTHER_DESTINATION}', 'deny', 'x', 'a1', now())",
        )
        assert await claimed(books) == [free]


class TestPriority:
    async def test_is_kept_with_the_payout(self, books: Books) -> None:
        payout_id = await ask(books, ECONOMY, destination=DESTINATION)
        payout: Payout = await books.payout(payout_id)
        assert payout.priority == ECONOMY


class TestUnmined:
    async def test_keep_the_next_batch_waiting_until_a_block_has_them(self, books: Books) -> None:
        await books.execute("UPDATE chain SET batch_size = 33, outputs_max = 1")
        asked = [await ask(books, URGENT) for _ in range(34)]
        first = await claimed(books)
        kept_waiting = await claimed(books)
        for payout_id in first[:2]:
            await books.execute(
                "UPDATE chain_transaction SET status = 'mined' WHERE id ="  # noqa: S608
                f" (SELECT chain_transaction_id FROM payout WHERE id = '{payout_id}')"
            )

        assert len(first) == 33
        assert kept_waiting == []
        assert set(await claimed(books)) == set(asked) - set(first)
