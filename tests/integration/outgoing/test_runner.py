import pytest

from domain.errors import (
    BroadcastUnknownError,
    FeeAboveCeilingError,
    FeeTooLowError,
    InsufficientGasFundsError,
    NodeRejectedError,
    NonceTooLowError,
)
from domain.ports import BroadcastOutcome, FeeQuote
from models.chain_transactions import ChainTransactionStatus as Status
from payouts.explain import explained
from payouts.queries import payout_detail
from tests.support.books import TOKEN, Books


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    await books.deposit("u1", "ETH", 100_000)
    await books.deposit("u1", "USD", 100_000)


async def claimed(books: Books, *amounts_minor: int, asset: str = "ETH") -> str:
    for amount_minor in amounts_minor:
        await books.freeze(amount_minor=amount_minor, asset=asset)
    return await books.claim()


async def signed(books: Books, *amounts_minor: int) -> str:
    batch_id = await books.allocated(*amounts_minor)
    await books.signer.sign(batch_id)
    return batch_id


async def statuses(books: Books, batch_id: str) -> list[str]:
    return [row.status for row in await books.transactions(batch_id)]


class TestPrepare:
    async def test_plans_gas_and_fee_once(self, books: Books) -> None:
        batch_id = await claimed(books, 100)
        await books.runner.prepare(batch_id)
        books.chain.quote = FeeQuote(7, 30, 3)
        await books.runner.prepare(batch_id)
        (row,) = await books.transactions(batch_id)
        (attempt,) = await books.attempts(row.id)
        assert (row.gas_limit, attempt.max_fee_minor, attempt.raw) == (21_000, 30, None)

    async def test_changes_nothing_once_the_batch_is_allocated(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        books.chain.quote = FeeQuote(7, 30, 3)
        await books.runner.prepare(batch_id)
        (row,) = await books.transactions(batch_id)
        assert [a.max_fee_minor for a in await books.attempts(row.id)] == [20]

    async def test_waits_and_says_so_while_the_fee_is_above_the_ceiling(self, books: Books) -> None:
        batch_id = await claimed(books, 100)
        books.chain.quote = FeeQuote(999, 2_000, 2)
        with pytest.raises(FeeAboveCeilingError):
            await books.runner.prepare(batch_id)
        batch = await books.batch(batch_id)
        assert (batch.waiting_for, batch.waiting_since) == (
            FeeAboveCeilingError.code,
            books.clock.now(),
        )
        books.chain.quote = FeeQuote(998, 2_000, 2)
        await books.runner.prepare(batch_id)
        (row,) = await books.transactions(batch_id)
        assert [a.max_fee_minor for a in await books.attempts(row.id)] == [1_000]
        assert (await books.batch(batch_id)).waiting_for is None

    @pytest.mark.parametrize(("asset", "contract"), [("ETH", None), ("USD", TOKEN)])
    async def test_waits_while_the_hot_wallet_is_short(
        self, books: Books, asset: str, contract: str | None
    ) -> None:
        batch_id = await claimed(books, 100, 100, asset=asset)
        books.chain.balances = {contract: 199}
        with pytest.raises(InsufficientGasFundsError):
            await books.runner.prepare(batch_id)
        assert (await books.batch(batch_id)).waiting_for == "hot_wallet_short"
        books.chain.balances = {contract: 200}
        await books.runner.prepare(batch_id)

    async def test_counts_what_other_batches_have_signed_away(self, books: Books) -> None:
        await signed(books, 150)
        batch_id = await claimed(books, 100)
        books.chain.balances = {None: 249}
        with pytest.raises(InsufficientGasFundsError):
            await books.runner.prepare(batch_id)
        books.chain.balances = {None: 250}
        await books.runner.prepare(batch_id)


class TestBroadcast:
    async def test_hands_the_stored_bytes_over_once_per_call(self, books: Books) -> None:
        batch_id = await signed(books, 100, 200)
        await books.runner.broadcast(batch_id)
        await books.runner.broadcast(batch_id)
        assert await statuses(books, batch_id) == [Status.BROADCAST] * 2
        assert len(books.chain.pool) == 2
        assert len(books.chain.offered) == 4

    @pytest.mark.parametrize("answer", [BroadcastUnknownError(), NonceTooLowError()])
    async def test_counts_an_unclear_answer_as_sent(
        self, books: Books, answer: BroadcastUnknownError
    ) -> None:
        batch_id = await signed(books, 100)
        books.chain.answers = [answer]
        with pytest.raises(type(answer)):
            await books.runner.broadcast(batch_id)
        assert await statuses(books, batch_id) == [Status.BROADCAST]
        (row,) = await books.transactions(batch_id)
        (attempt,) = await books.attempts(row.id)
        assert (attempt.last_error, attempt.broadcast_at) == (answer.code, books.clock.now())
        assert (await books.batch(batch_id)).waiting_for == answer.code

    @pytest.mark.parametrize(
        "answer", [FeeTooLowError(), InsufficientGasFundsError(), NodeRejectedError()]
    )
    async def test_keeps_as_signed_what_no_node_took(
        self, books: Books, answer: FeeTooLowError
    ) -> None:
        batch_id = await signed(books, 100)
        books.chain.answers = [answer]
        with pytest.raises(type(answer)):
            await books.runner.broadcast(batch_id)
        assert await statuses(books, batch_id) == [Status.SIGNED]
        await books.runner.broadcast(batch_id)
        assert await statuses(books, batch_id) == [Status.BROADCAST]
        (row,) = await books.transactions(batch_id)
        assert (await books.attempts(row.id))[0].last_error is None

    async def test_sends_the_rest_when_one_is_not_taken(self, books: Books) -> None:
        batch_id = await signed(books, 100, 200, 300)
        books.chain.answers = [
            BroadcastOutcome.ACCEPTED,
            FeeTooLowError(),
            BroadcastOutcome.ACCEPTED,
        ]
        with pytest.raises(FeeTooLowError):
            await books.runner.broadcast(batch_id)
        assert sorted(await statuses(books, batch_id)) == [
            Status.BROADCAST,
            Status.BROADCAST,
            Status.SIGNED,
        ]

    async def test_takes_being_replaced_for_an_answer(self, books: Books) -> None:
        batch_id = await signed(books, 100)
        books.chain.answers = [BroadcastOutcome.REPLACED]
        await books.runner.broadcast(batch_id)
        assert await statuses(books, batch_id) == [Status.BROADCAST]

    async def test_never_takes_back_what_was_mined_meanwhile(self, books: Books) -> None:
        batch_id = await signed(books, 100)
        await books.runner.broadcast(batch_id)
        books.chain.mine()
        await books.watch.watch_once()
        await books.runner.broadcast(batch_id)
        assert await statuses(books, batch_id) == [Status.MINED]

    async def test_leaves_the_note_of_the_signers_ceiling(self, books: Books) -> None:
        await books.execute(
            "INSERT INTO signer_ceiling SELECT address, 'ETH', 150 FROM blockchain_wallet"
        )
        batch_id = await signed(books, 100, 100)
        await books.runner.broadcast(batch_id)
        assert (await books.batch(batch_id)).waiting_for == "signer_ceiling_reached"


class TestBump:
    async def test_keeps_the_nonce_and_raises_the_fee(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        assert (await books.signer.sign(batch_id)).signed == 1
        await books.runner.broadcast(batch_id)
        first, second = books.keys.signed
        assert (first.account_nonce, second.account_nonce) == (0, 0)
        assert second.transfer == first.transfer
        assert (second.max_fee_minor, second.priority_fee_minor) == (40, 4)
        (row,) = await books.transactions(batch_id)
        attempts = await books.attempts(row.id)
        assert [a.sequence for a in attempts] == [0, 1]
        assert books.chain.offered == [a.txid for a in attempts]

    async def test_waits_until_it_is_due(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.wait(59)
        assert await books.runner.plan_bumps(batch_id) == 0

    async def test_is_planned_once_until_it_is_signed(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        assert await books.runner.plan_bumps(batch_id) == 1
        (row,) = await books.transactions(batch_id)
        assert len(await books.attempts(row.id)) == 2

    async def test_is_only_for_what_blocks(self, books: Books) -> None:
        batch_id = await books.broadcast(100, 200)
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        rows = await books.transactions(batch_id)
        assert [len(await books.attempts(row.id)) for row in rows] == [2, 1]

    async def test_is_for_everything_that_is_below_the_base_fee(self, books: Books) -> None:
        batch_id = await books.broadcast(100, 200)
        books.wait(61)
        books.chain.quote = FeeQuote(21, 60, 2)
        assert await books.runner.plan_bumps(batch_id) == 2

    async def test_is_for_what_no_pool_takes_at_its_fee(self, books: Books) -> None:
        batch_id = await signed(books, 100)
        books.chain.answers = [FeeTooLowError()]
        with pytest.raises(FeeTooLowError):
            await books.runner.broadcast(batch_id)
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        assert (await books.signer.sign(batch_id)).signed == 1
        await books.runner.broadcast(batch_id)
        assert await statuses(books, batch_id) == [Status.BROADCAST]
        assert books.keys.signed[-1].max_fee_minor == 40

    async def test_waits_twice_as_long_after_each_and_keeps_every_candidate(
        self, books: Books
    ) -> None:
        batch_id = await books.broadcast(100)
        (row,) = await books.transactions(batch_id)
        for wait_s in (60, 120, 240):
            books.wait(wait_s - 1)
            assert await books.runner.plan_bumps(batch_id) == 0
            books.wait(1)
            assert await books.runner.plan_bumps(batch_id) == 1
            await books.signer.sign(batch_id)
            await books.runner.broadcast(batch_id)
        attempts = await books.attempts(row.id)
        assert [a.sequence for a in attempts] == [0, 1, 2, 3]
        assert all(a.raw is not None for a in attempts)
        assert [a.txid for a in attempts] == books.chain.offered
        # Any of them may be mined: here the first.
        books.chain.mine(3, only=[str(attempts[0].txid)])
        await books.watch.watch_once()
        await books.log.settle(batch_id)
        (row,) = await books.transactions(batch_id)
        assert (row.txid, row.status) == (attempts[0].txid, Status.CONFIRMED)

    async def test_stops_at_its_budget_and_explains_it(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        (row,) = await books.transactions(batch_id)
        (first,) = await books.attempts(row.id)
        cost_minor = (row.gas_limit or 0) * first.max_fee_minor
        await books.execute(f"UPDATE chain SET bump_fee_max_minor = {cost_minor}")  # noqa: S608
        books.wait(60)
        assert await books.runner.plan_bumps(batch_id) == 0
        (payout,) = await books.payouts()
        async with books.worker.transaction() as session:
            detail = await payout_detail(session, payout.id, user_id=None)
            said = explained(detail, signer_seen_at=None, now=books.clock.now())
        assert said.waiting_for == "fee_budget"
        await books.execute(f"UPDATE chain SET bump_fee_max_minor = {3 * cost_minor}")  # noqa: S608
        assert await books.runner.plan_bumps(batch_id) == 1

    async def test_stops_at_the_ceiling_and_says_so(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.wait(61)
        await books.execute("UPDATE chain SET max_fee_ceiling_minor = 39")
        with pytest.raises(FeeAboveCeilingError):
            await books.runner.plan_bumps(batch_id)
        (row,) = await books.transactions(batch_id)
        assert len(await books.attempts(row.id)) == 1
        assert (await books.batch(batch_id)).waiting_for == "fee_above_ceiling"

    async def test_leaves_what_is_mined_alone(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.chain.mine()
        await books.watch.watch_once()
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 0
