import asyncio

import pytest

from domain.errors import PayoutStateError
from domain.ids import new_id
from domain.payouts import OperatorAction, PayoutStatus
from models.chain_transactions import ChainTransactionKind as Kind
from models.chain_transactions import ChainTransactionStatus as Status
from tests.support.books import CHAIN, DESTINATION, FEE_MINOR, HOT, Books


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    await books.deposit("u1", "ETH", 100_000)


async def frozen(books: Books, count: int) -> list[str]:
    return [(await books.freeze(amount_minor=100)).payout_id for _ in range(count)]


async def status_of(books: Books, payout_id: str) -> str:
    return (await books.payout(payout_id)).status


class TestClaim:
    async def test_takes_ready_payouts_one_transaction_each(self, books: Books) -> None:
        payout_ids = await frozen(books, 3)
        batch_id = await books.claim()
        rows = await books.transactions(batch_id)
        assert [(r.status, r.kind, r.amount_minor) for r in rows] == [
            (Status.PLANNED, Kind.PAYOUT, 100)
        ] * 3
        payouts = [await books.payout(payout_id) for payout_id in payout_ids]
        assert {p.status for p in payouts} == {PayoutStatus.BATCHED}
        assert {p.chain_transaction_id for p in payouts} == {r.id for r in rows}

    async def test_answers_the_same_for_the_same_key(self, books: Books) -> None:
        await frozen(books, 2)
        first = await books.claim("k")
        await frozen(books, 2)
        assert await books.claim("k") == first
        assert len(await books.transactions(first)) == 2

    async def test_answers_nothing_when_nothing_is_ready(self, books: Books) -> None:
        await books.set_policy({"rules": [], "fallback_approvals": 1})
        await frozen(books, 1)
        claimed = await books.log.claim(chain_id=CHAIN, wallet_address=HOT, claim_key="k")
        assert claimed is None

    async def test_never_shares_a_payout_with_another(self, books: Books) -> None:
        await books.execute("UPDATE chain SET batch_size = 5")
        payout_ids = await frozen(books, 20)
        claims = await asyncio.gather(
            *(
                books.log.claim(chain_id=CHAIN, wallet_address=HOT, claim_key=f"k{n}")
                for n in range(8)
            )
        )
        batches = [batch_id for batch_id in claims if batch_id]
        rows = [row for batch_id in batches for row in await books.transactions(batch_id)]
        owners = [(await books.payout(p)).chain_transaction_id for p in payout_ids]
        taken = [owner for owner in owners if owner]
        assert sorted(taken) == sorted(row.id for row in rows)
        assert len(set(taken)) == len(taken) > 0

    async def test_waits_for_a_batch_to_fill_but_not_for_ever(self, books: Books) -> None:
        await books.execute("UPDATE chain SET batch_wait_ms = 5000, batch_size = 3")
        await frozen(books, 2)
        asked = {"chain_id": CHAIN, "wallet_address": HOT}
        assert await books.log.claim(**asked, claim_key="early") is None
        books.wait(5)
        assert await books.log.claim(**asked, claim_key="due") is not None
        await frozen(books, 3)
        assert await books.log.claim(**asked, claim_key="full") is not None

    async def test_and_a_cancellation_never_both_win(self, books: Books) -> None:
        for n in range(10):
            (payout_id,) = await frozen(books, 1)
            claimed, cancelled = await asyncio.gather(
                books.log.claim(chain_id=CHAIN, wallet_address=HOT, claim_key=f"k{n}"),
                books.desk.cancel(payout_id),
                return_exceptions=True,
            )
            status = await status_of(books, payout_id)
            if claimed:
                assert isinstance(cancelled, PayoutStateError)
                assert status == PayoutStatus.BATCHED
            else:
                assert status == PayoutStatus.CANCELLED


class TestAllocate:
    async def test_gives_consecutive_nonces_and_captures_holds_once(self, books: Books) -> None:
        first = await books.allocated(100, 100, 100)
        second = await books.allocated(100, 100)
        for batch_id in (first, second, first):
            await books.log.allocate(batch_id)
        rows = [*await books.transactions(first), *await books.transactions(second)]
        assert [row.account_nonce for row in rows] == [0, 1, 2, 3, 4]
        assert {row.status for row in rows} == {Status.ALLOCATED}
        assert await books.in_flight() == 5 * (100 + FEE_MINOR)
        assert await books.money() == (100_000 - 5 * 110, 0)
        await books.assert_sound()

    async def test_never_gives_a_nonce_twice_to_batches_in_parallel(self, books: Books) -> None:
        batches = []
        for _ in range(4):
            await frozen(books, 3)
            batches.append(await books.claim())
            await books.runner.prepare(batches[-1])
        await asyncio.gather(*(books.log.allocate(batch_id) for batch_id in batches * 2))
        rows = [row for batch_id in batches for row in await books.transactions(batch_id)]
        assert sorted(int(row.account_nonce or 0) for row in rows) == list(range(12))

    async def test_refunds_what_would_revert_without_a_nonce(self, books: Books) -> None:
        books.chain.would_revert = {DESTINATION}
        batch_id = await books.allocated(100)
        (row,) = await books.transactions(batch_id)
        (payout,) = await books.payouts()
        assert (row.status, row.account_nonce) == (Status.ABANDONED, None)
        assert (payout.status, payout.reason_code) == (PayoutStatus.REFUNDED, "would_revert")
        assert await books.money() == (100_000, 0)
        await books.assert_sound()

    async def test_never_deadlocks_with_what_users_do_meanwhile(self, books: Books) -> None:
        """Batches that both dispatch and refund, and freezes of the same user."""
        books.chain.would_revert = {DESTINATION}
        other = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
        for _ in range(10):
            for _ in range(3):
                await books.freeze(destination=DESTINATION)
                await books.freeze(destination=other)
            batch_id = await books.claim()
            await books.runner.prepare(batch_id)
            await asyncio.gather(books.log.allocate(batch_id), *(books.freeze() for _ in range(6)))
            # Else the next batch would wait for a block.
            await books.execute(
                "UPDATE chain_transaction SET status = 'mined' WHERE status = 'allocated'"
            )
        await books.assert_sound()


def action(payout_id: str) -> OperatorAction:
    return OperatorAction(payout_id, "op")


class TestRefund:
    async def test_gives_back_what_is_only_planned(self, books: Books) -> None:
        (payout_id,) = await frozen(books, 1)
        batch_id = await books.claim()
        outcome = await books.log.refund(action(payout_id))
        assert outcome.status == PayoutStatus.REFUNDED
        assert outcome.reason_code == "refunded_by_operator"
        (row,) = await books.transactions(batch_id)
        assert (row.status, row.account_nonce) == (Status.ABANDONED, None)
        assert await books.money() == (100_000, 0)

    async def test_leaves_the_nonce_of_an_allocated_one_to_a_filler(self, books: Books) -> None:
        batch_id = await books.allocated(100, 200)
        before = await books.transactions(batch_id)
        payout_id = next(p.id for p in await books.payouts() if p.amount_minor == 100)
        await books.log.refund(action(payout_id))
        rows = await books.transactions(batch_id)
        filler = next(row for row in rows if row.kind == Kind.NONCE_FILLER)
        assert (filler.destination, filler.amount_minor) == (HOT, 0)
        assert filler.status == Status.ALLOCATED
        assert sorted(r.account_nonce for r in rows if r.account_nonce is not None) == sorted(
            r.account_nonce for r in before if r.account_nonce is not None
        )
        assert await books.money() == (100_000 - 210, 0)
        assert await books.in_flight() == 210
        await books.assert_sound()

    async def test_of_everything_still_ends_its_batch_once_the_filler_is_mined(
        self, books: Books
    ) -> None:
        batch_id = await books.allocated(100)
        await books.log.refund(action((await books.payouts())[0].id))
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        books.chain.mine(3)
        await books.watch.watch_once()
        outcome = await books.log.settle(batch_id)
        assert outcome.is_done
        assert await books.money() == (100_000, 0)
        assert await books.omnibus() == 100_000 - 21_000 * 9
        await books.assert_sound()

    async def test_answers_the_same_when_repeated(self, books: Books) -> None:
        await books.allocated(100)
        payout_id = (await books.payouts())[0].id
        outcomes = await asyncio.gather(
            *(books.log.refund(action(payout_id)) for _ in range(4)), return_exceptions=True
        )
        again = await books.log.refund(action(payout_id))
        assert {o.status for o in outcomes if not isinstance(o, BaseException)} == {again.status}
        assert again.status == PayoutStatus.REFUNDED
        assert await books.money() == (100_000, 0)
        await books.assert_sound()

    async def test_is_refused_once_it_is_signed(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.signer.sign(batch_id)
        with pytest.raises(PayoutStateError):
            await books.log.refund(action((await books.payouts())[0].id))
        assert await books.in_flight() == 110

    async def test_is_refused_outside_a_batch(self, books: Books) -> None:
        (payout_id,) = await frozen(books, 1)
        with pytest.raises(PayoutStateError):
            await books.log.refund(action(payout_id))
        with pytest.raises(PayoutStateError):
            await books.log.refund(action(new_id("pay")))

    async def test_and_the_signature_never_both_win(self, books: Books) -> None:
        for _ in range(10):
            batch_id = await books.allocated(100)
            payout = next(p for p in await books.payouts() if p.status == PayoutStatus.BATCHED)
            refunded, _ = await asyncio.gather(
                books.log.refund(action(payout.id)),
                books.signer.sign(batch_id),
                return_exceptions=True,
            )
            paid = [a for a in books.keys.signed if a.transfer.amount_minor]
            assert len(paid) == (1 if isinstance(refunded, PayoutStateError) else 0)
            books.keys.signed.clear()
            await books.execute("UPDATE payout SET status = 'settled' WHERE status = 'batched'")


class TestRefusal:
    async def refused(self, books: Books) -> tuple[str, str]:
        """Return a batch whose only payout the signer refused, and the payout."""
        batch_id = await books.allocated(100)
        await books.execute("UPDATE asset SET enabled = false WHERE code = 'ETH'")
        assert (await books.signer.sign(batch_id)).refused == 1
        await books.execute("UPDATE asset SET enabled = true WHERE code = 'ETH'")
        return batch_id, (await books.payouts())[0].id

    async def test_leaves_the_payout_to_an_operator_and_the_nonce_to_a_filler(
        self, books: Books
    ) -> None:
        batch_id, payout_id = await self.refused(books)
        assert await books.log.give_up_refused(batch_id) == 1
        assert await books.log.give_up_refused(batch_id) == 1
        rows = await books.transactions(batch_id)
        assert [(r.kind, r.status, r.account_nonce) for r in rows] == [
            (Kind.NONCE_FILLER, Status.ALLOCATED, 0),
            (Kind.PAYOUT, Status.ABANDONED, None),
        ]
        assert await status_of(books, payout_id) == PayoutStatus.BATCHED
        assert await books.in_flight() == 110

    async def test_can_be_refunded(self, books: Books) -> None:
        batch_id, payout_id = await self.refused(books)
        await books.log.give_up_refused(batch_id)
        outcome = await books.log.refund(action(payout_id))
        assert outcome.status == PayoutStatus.REFUNDED
        assert (await books.money(), await books.in_flight()) == ((100_000, 0), 0)
        await books.assert_sound()

    async def test_can_be_tried_again_and_then_pays_once(self, books: Books) -> None:
        first, payout_id = await self.refused(books)
        await books.log.give_up_refused(first)
        for _ in range(2):
            outcome = await books.log.retry(action(payout_id))
            assert outcome.status == PayoutStatus.READY
        second = await books.claim()
        await books.runner.prepare(second)
        await books.log.allocate(second)
        for batch_id in (first, second):
            await books.signer.sign(batch_id)
            await books.runner.broadcast(batch_id)
        books.chain.mine(3)
        await books.watch.watch_once()
        for batch_id in (first, second):
            assert (await books.log.settle(batch_id)).is_done
        assert await status_of(books, payout_id) == PayoutStatus.SETTLED
        assert await books.in_flight() == 0
        assert await books.omnibus() == 100_000 - 100 - 2 * 21_000 * 9
        await books.assert_sound()

    async def test_tried_again_and_found_to_revert_is_refunded_from_flight(
        self, books: Books
    ) -> None:
        first, payout_id = await self.refused(books)
        await books.log.give_up_refused(first)
        await books.log.retry(action(payout_id))
        books.chain.would_revert = {DESTINATION}
        second = await books.claim()
        await books.runner.prepare(second)
        await books.log.allocate(second)
        assert await status_of(books, payout_id) == PayoutStatus.REFUNDED
        assert (await books.money(), await books.in_flight()) == ((100_000, 0), 0)
        await books.assert_sound()

    async def test_tried_again_can_be_taken_back_before_the_next_batch(self, books: Books) -> None:
        first, payout_id = await self.refused(books)
        await books.log.give_up_refused(first)
        await books.log.retry(action(payout_id))
        outcome = await books.desk.cancel(payout_id)
        assert outcome.status == PayoutStatus.CANCELLED
        assert (await books.money(), await books.in_flight()) == ((100_000, 0), 0)
        await books.assert_sound()

    async def test_is_not_tried_again_while_it_is_on_its_way(self, books: Books) -> None:
        await books.allocated(100)
        with pytest.raises(PayoutStateError):
            await books.log.retry(action((await books.payouts())[0].id))

    async def test_of_a_fee_above_a_lowered_ceiling_still_fills_the_nonce(
        self, books: Books
    ) -> None:
        batch_id = await books.allocated(100)
        await books.execute("UPDATE chain SET max_fee_ceiling_minor = 10")
        assert (await books.signer.sign(batch_id)).refused == 1
        await books.log.give_up_refused(batch_id)
        outcome = await books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused) == (1, 0)


class TestNotification:
    async def test_is_owed_until_it_is_marked(self, books: Books) -> None:
        batch_id = await books.settled(100, 200)
        owed = await books.log.unnotified(batch_id)
        assert {o.status for o in owed} == {PayoutStatus.SETTLED}
        assert all(o.txid for o in owed)
        assert len(owed) == 2
        await books.log.mark_notified([owed[0].payout_id])
        assert await books.log.unnotified(batch_id) == [owed[1]]
        assert (await books.log.settle(batch_id)).to_notify == 1
