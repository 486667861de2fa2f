"""Which lines leave with a batch, and which not."""

import re
from collections.abc import Mapping

import pytest
from sqlalchemy import TextClause, text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ids import new_id
from domain.payouts import OperatorAction, PayoutStatus
from models.chain_transactions import ChainTransactionKind, ChainTransactionStatus
from outgoing.claiming import GROUPS, TURNS
from payouts.explain import explain as explain_payout
from payouts.queries import payout_detail
from runs.explain import explain as explain_run
from runs.queries import run_detail
from tests.support.books import CHAIN, HOT, Books
from tests.support.runs import Runs, allow_dispersals

HOT_MINOR = 10_000


@pytest.fixture
async def runs(books: Books) -> Runs:
    for user_id in ("u1", "u2"):
        await books.deposit(user_id, "ETH", HOT_MINOR)
    await allow_dispersals(books)
    return Runs(books)


async def refused(books: Books, batch_id: str) -> list[str]:
    """Let the signer refuse, and fill the nonces; return the kinds of what was signed."""
    assert (await books.signer.sign(batch_id)).refused
    await books.log.give_up_refused(batch_id)
    await books.signer.sign(batch_id)
    rows = await books.transactions(batch_id)
    return [row.kind for row in rows if row.status == ChainTransactionStatus.SIGNED]


async def waits_for(runs: Runs, payout_id: str, run_id: str) -> tuple[str | None, str | None]:
    """Return what a payout and its run wait for, by their explanations."""
    now = runs.books.clock.now()
    async with runs.books.worker.transaction() as session:
        detail = await payout_detail(session, payout_id, user_id=None)
        of_payout = await explain_payout(session, detail, now=now)
        of_run = await explain_run(
            session, await run_detail(session, run_id, user_id=None), now=now
        )
    return of_payout.waiting_for, of_run.waiting_for


class TestRefusedLines:
    async def test_of_a_disabled_asset_wait_together(self, runs: Runs) -> None:
        """It is disabled on purpose while a run of it is under way: no nonce is burned for each."""
        books = runs.books
        run_id = await runs.started(*range(1, 10))
        batch_id = await runs.allocated()
        await books.execute("UPDATE asset SET enabled = false WHERE code = 'ETH'")
        assert await refused(books, batch_id) == [ChainTransactionKind.NONCE_FILLER] * 3
        key = new_id("claim")
        assert await books.log.claim(chain_id=CHAIN, wallet_address=HOT, claim_key=key) is None
        first, *_ = await runs.lines(run_id)
        assert await waits_for(runs, first.id, run_id) == ("asset_disabled", "asset_disabled")
        await books.execute("UPDATE asset SET enabled = true WHERE code = 'ETH'")
        assert len(await books.transactions(await books.claim())) == 3

    async def test_of_an_asset_disabled_before_they_have_a_place_burn_no_nonce(
        self, runs: Runs
    ) -> None:
        books = runs.books
        run_id = await runs.started(1, 2, 3)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await books.execute("UPDATE asset SET enabled = false WHERE code = 'ETH'")
        assert await books.log.allocate(batch_id)
        (row,) = await books.transactions(batch_id)
        assert (row.status, row.account_nonce) == (ChainTransactionStatus.ABANDONED, None)
        assert {line.status for line in await runs.lines(run_id)} == {"ready"}

    async def test_let_those_go_on_that_only_shared_their_transaction(self, runs: Runs) -> None:
        books = runs.books
        run_id = await runs.started(1, 2)
        single = await books.freeze(user_id="u2", amount_minor=50)
        batch_id = await runs.allocated()
        await books.tamper(
            f"UPDATE payout SET fee_minor = fee_minor + 1 WHERE id = '{single.payout_id}'"  # noqa: S608
        )
        assert await refused(books, batch_id) == [ChainTransactionKind.NONCE_FILLER]
        again = await runs.allocated()
        assert (await books.signer.sign(again)).signed == 1
        lines = await runs.lines(run_id)
        assert len({line.chain_transaction_id for line in lines}) == 1
        assert [line.is_alone for line in lines] == [False, False]
        assert (await books.payout(single.payout_id)).status == PayoutStatus.BATCHED
        assert (await waits_for(runs, single.payout_id, run_id))[0] == "operator"
        refunded = await books.log.refund(OperatorAction(single.payout_id, "op"))
        assert refunded.status == PayoutStatus.REFUNDED


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
