"""Which lines leave with a batch, and which not."""

import re
from collections.abc import Mapping

import pytest
from sqlalchemy import TextClause, text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ids import new_id
from domain.payouts import PayoutStatus
from models.chain_transactions import ChainTransactionKind, ChainTransactionStatus
from outgoing.claiming import GROUPS, TURNS
from tests.support.books import CHAIN, HOT, Books
from tests.support.runs import Runs, allow_dispersals

HOT_MINOR = 10_000


@pytest.fixture
async def runs(books: Books) -> Runs:
    for user_id in ("u1", "u2"):
        await books.deposit(user_id, "ETH", HOT_MINOR)
    await allow_dispersals(books)
    return Runs(books)


async def refused_until_nothing_waits(runs: Runs) -> list[str]:
    """Do as the batcher does until nothing leaves any more; return the kinds of what was sent."""
    books = runs.books
    kinds: list[str] = []
    while True:
        batch_id = await books.log.claim(
            chain_id=CHAIN, wallet_address=HOT, claim_key=new_id("claim")
        )
        if batch_id is None:
            return kinds
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        if (await books.signer.sign(batch_id)).refused:
            await books.log.give_up_refused(batch_id)
            await books.signer.sign(batch_id)
        rows = await books.transactions(batch_id)
        kinds += [row.kind for row in rows if row.status == ChainTransactionStatus.SIGNED]


class TestGivenUpLines:
    @pytest.mark.xfail(strict=True, reason="each line of a run costs a nonce filler of its own")
    async def test_do_not_burn_a_nonce_each(self, runs: Runs) -> None:
        """The asset is disabled on purpose while a run of it is under way."""
        run_id = await runs.started(*range(1, 10))
        await runs.books.execute("UPDATE asset SET enabled = false WHERE code = 'ETH'")
        kinds = await refused_until_nothing_waits(runs)
        fillers = kinds.count(ChainTransactionKind.NONCE_FILLER)
        shared = len(await runs.lines(run_id)) // 3
        assert fillers <= shared, f"{fillers} fillers for 9 lines in {shared} transactions"


class TestBatches:
    async def test_have_no_more_transactions_than_the_catalog_says(self, runs: Runs) -> None:
        """docs/reference/catalog.md: ``batch_size`` is "most chain transactions of a batch"."""
        books = runs.books
        await books.execute("UPDATE chain SET batch_size = 2")
        run_id = await runs.started(1, 2, 3, 4, 5, 6)
        await books.execute(f"UPDATE payout SET is_alone = true WHERE run_id = '{run_id}'")  # noqa: S608
        batch_id = await books.claim()
        assert len(await books.transactions(batch_id)) <= 2

    async def test_leave_room_for_a_single_payout_beside_an_urgent_run(self, runs: Runs) -> None:
        """docs/how-to/fees.md: a bulk payout "does not keep a single payout waiting"."""
        books = runs.books
        await books.execute("UPDATE chain SET batch_size = 1")
        single = await books.freeze(user_id="u2", amount_minor=50)
        run_id = await runs.upload([1, 2, 3, 4, 5, 6])
        await books.tamper(f"UPDATE payout_run SET priority = 'urgent' WHERE id = '{run_id}'")  # noqa: S608
        assert (await runs.start(run_id)).reason_code is None
        await books.claim()
        assert (await books.payout(single.payout_id)).status == PayoutStatus.BATCHED

    async def test_are_chosen_without_reading_what_cannot_leave(self, runs: Runs) -> None:
        """
        ``claiming``: "what cannot leave costs as many looks as there are groups of it".

        A look each 250 ms; with 100,000 economical lines at high fees it took 0.1 s, with as many
        denied 0.25 s.
        """
        books = runs.books
        run_id = await runs.upload([1] * 300)
        await books.tamper(f"UPDATE payout_run SET priority = 'economy' WHERE id = '{run_id}'")  # noqa: S608
        assert (await runs.start(run_id)).reason_code is None
        single = await books.freeze(user_id="u1", amount_minor=50)
        wanted: dict[str, object] = {"chain_id": CHAIN, "priorities": ["normal", "urgent"]}
        async with books.owner.transaction() as session:
            await session.execute(text("SET LOCAL enable_seqscan = off"))
            groups = (await session.execute(GROUPS, wanted)).all()
            assert groups == [("ETH", "normal", "u1")]
            await session.execute(text("ANALYZE payout"))
            assert await removed(session, GROUPS, wanted) <= 2 * 3
            wanted = {
                "chain_id": CHAIN,
                "assets": ["ETH"],
                "of_priorities": ["normal"],
                "customers": ["u1"],
                "turns": 3,
                "capacity": 3,
            }
            assert await removed(session, TURNS, wanted) <= 2 * 3
            (row,) = await session.execute(TURNS, wanted)
            assert row.id == single.payout_id

    async def test_look_at_what_is_denied_once_until_screening_says_otherwise(
        self, runs: Runs
    ) -> None:
        books = runs.books
        await books.execute("UPDATE chain SET batch_size = 1")
        run_id = await runs.started(*[1] * 8)
        lines = await runs.lines(run_id)
        for line in lines[:7]:
            await books.execute(said(line.destination, "deny"))
        await books.claim()
        assert [line.status for line in await runs.lines(run_id)] == ["ready"] * 7 + ["batched"]
        assert [line.is_denied for line in await runs.lines(run_id)] == [True] * 7 + [False]
        await books.execute(
            said(lines[0].destination, "allow"),
            f"DELETE FROM address_screening WHERE address = '{lines[1].destination}'",  # noqa: S608
        )
        await books.claim()
        statuses = [line.status for line in await runs.lines(run_id)]
        assert statuses == ["batched"] * 2 + ["ready"] * 5 + ["batched"]

    async def test_are_not_chosen_of_a_disabled_asset(self, runs: Runs) -> None:
        books = runs.books
        run_id = await runs.started(1, 2)
        await books.execute("UPDATE asset SET enabled = false WHERE code = 'ETH'")
        key = new_id("claim")
        assert await books.log.claim(chain_id=CHAIN, wallet_address=HOT, claim_key=key) is None
        await books.execute("UPDATE asset SET enabled = true WHERE code = 'ETH'")
        await books.claim()
        assert {line.status for line in await runs.lines(run_id)} == {"batched"}


async def removed(session: AsyncSession, query: TextClause, wanted: Mapping[str, object]) -> int:
    """Return how many rows the query reads in vain."""
    found = await session.execute(text(f"EXPLAIN (ANALYZE) {query.text}"), wanted)
    return sum(
        int(n) for n in re.findall(r"Rows Removed by Filter: (\d+)", "\n".join(found.scalars()))
    )


def said(address: str, verdict: str) -> str:
    """Return the statement by which our own list says this of an address."""
    return (
        "INSERT INTO address_screening VALUES"  # noqa: S608
        f" ('{CHAIN}', '{address}', '{verdict}', 'x', 'a1', now())"
        f" ON CONFLICT (chain_id, address) DO UPDATE SET verdict = '{verdict}'"
    )
