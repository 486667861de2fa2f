from datetime import timedelta

import pytest

from domain.errors import FeeAboveCeilingError
from domain.explanations import SILENT_AFTER, Explanation
from domain.ports import FeeQuote
from payouts.explain import explain
from payouts.queries import payout_detail
from tests.support.books import Books


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    await books.deposit("u1", "ETH", 100_000)


async def why(books: Books) -> Explanation:
    (payout,) = await books.payouts()
    async with books.worker.transaction() as session:
        detail = await payout_detail(session, payout.id, user_id="u1")
        return await explain(session, detail, now=books.clock.now())


class TestExplanation:
    async def test_counts_approvals(self, books: Books) -> None:
        await books.set_policy({"rules": [{"asset": "*", "approvals": 2}]})
        payout_id = (await books.freeze()).payout_id
        assert (await why(books)).sentence.startswith("Waiting for approval 1 of 2, until 2026-")
        await books.decide(payout_id, "a1")
        found = await why(books)
        assert found.sentence.startswith("Waiting for approval 2 of 2")
        assert found.waiting_for == "approval"

    async def test_says_that_an_overdue_hold_is_not_given_back_yet(self, books: Books) -> None:
        await books.set_policy({"rules": [{"asset": "*", "approvals": 1}]})
        payout_id = (await books.freeze()).payout_id
        until = (await books.payout(payout_id)).approval_expires_at
        assert until is not None
        books.clock.advance(until - books.clock.now() + SILENT_AFTER)
        assert (await why(books)).waiting_for == "approval"
        books.wait(1)
        found = await why(books)
        assert found.waiting_for == "expiry"
        assert found.sentence.startswith("Approvals were due until 2026-")
        await books.desk.expire(payout_id)
        assert (await why(books)).waiting_for is None

    async def test_follows_a_payout_to_its_end(self, books: Books) -> None:
        seen = []
        await books.freeze(amount_minor=100)
        seen.append(await why(books))
        batch_id = await books.claim()
        seen.append(await why(books))
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        seen.append(await why(books))
        await books.signer.sign(batch_id)
        seen.append(await why(books))
        await books.runner.broadcast(batch_id)
        seen.append(await why(books))
        books.chain.mine(2)
        await books.watch.watch_once()
        seen.append(await why(books))
        books.chain.mine()
        await books.watch.watch_once()
        await books.log.settle(batch_id)
        seen.append(await why(books))
        assert [e.waiting_for for e in seen] == [
            "batch",
            "fee",
            "signer",
            "broadcast",
            "block",
            "confirmations",
            None,
        ]
        assert seen[2].sentence == "Waiting for the signer, which has never run."
        assert seen[5].sentence == "Mined; 2 of 3 confirmations."
        assert seen[6].sentence == f"Settled in transaction {books.chain.offered[0]}."

    async def test_says_what_holds_a_batch_up(self, books: Books) -> None:
        await books.freeze()
        batch_id = await books.claim()
        books.chain.quote = FeeQuote(5_000, 9_000, 1)
        with pytest.raises(FeeAboveCeilingError):
            await books.runner.prepare(batch_id)
        found = await why(books)
        assert found.waiting_for == "fee_above_ceiling"
        assert found.sentence.startswith("Chain fee above ceiling since 2026-01-01 12:00:00")

    async def test_says_since_when_the_signer_is_silent(self, books: Books) -> None:
        await books.allocated(100)
        seen_at = books.clock.now()
        await books.execute(
            "INSERT INTO process_heartbeat VALUES"  # noqa: S608
            f" ('signing', 'x', '{seen_at.isoformat()}', '{seen_at.isoformat()}')"
        )
        assert (await why(books)).sentence == "Waiting for the signer."
        books.clock.advance(timedelta(seconds=21))
        assert (await why(books)).sentence == "Signer not running since 2026-01-01 12:00:00 UTC."

    async def test_says_how_it_ended(self, books: Books) -> None:
        await books.freeze(amount_minor=10**9)
        found = await why(books)
        assert found == Explanation("Refused: Insufficient available balance.", None)
