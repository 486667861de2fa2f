import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlmodel import col, select

from domain.errors import NonceTooLowError
from domain.payouts import PayoutStatus
from domain.ports import Block
from ledger import chart
from models.chain_transactions import ChainBlock
from models.chain_transactions import ChainTransactionStatus as Status
from tests.support.books import CHAIN, DESTINATION, FEE_MINOR, Books
from tests.support.scripted_chain import GAS_USED
from watcher.watch import LAG_PATIENCE

FUNDS = 100_000_000
NETWORK_FEE = GAS_USED * 9


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    await books.deposit("u1", "ETH", FUNDS)


async def row_status(books: Books, batch_id: str) -> str:
    (row,) = await books.transactions(batch_id)
    return row.status


async def payout_status(books: Books) -> str:
    (payout,) = await books.payouts()
    return payout.status


async def known_blocks(books: Books) -> list[tuple[int, str]]:
    async with books.owner.transaction() as session:
        found = await session.exec(select(ChainBlock).order_by(col(ChainBlock.height)))
        return [(block.height, block.hash) for block in found]


def canonical(books: Books) -> list[tuple[int, str]]:
    return [(block.height, block.hash) for block in books.chain.blocks]


async def suspense(books: Books) -> int:
    return await books.balance(chart.SUSPENSE)


class TestCursor:
    async def test_has_no_gap_whatever_the_chain_does(self, books: Books) -> None:
        for mined, back in ((1, 0), (5, 2), (0, 3), (7, 1), (3, 6), (1, 1)):
            books.chain.mine(mined)
            await books.watch.watch_once()
            assert await known_blocks(books) == canonical(books)
            books.chain.rollback(back)
            books.chain.mine(1)
            await books.watch.watch_once()
            assert await known_blocks(books) == canonical(books)

    async def test_begins_near_the_tip_of_a_long_chain(self, books: Books) -> None:
        books.chain.mine(300)
        await books.watch.watch_once()
        heights = [height for height, _ in await known_blocks(books)]
        assert heights == list(range(44, 301))

    async def test_follows_a_chain_that_became_shorter(self, books: Books) -> None:
        books.chain.mine(5)
        await books.watch.watch_once()
        before = await known_blocks(books)
        books.chain.rollback(3)
        await books.watch.watch_once()
        # It may be a node that lags behind: what it has not got is not gone.
        assert await known_blocks(books) == before
        books.wait(LAG_PATIENCE.total_seconds() + 1)
        await books.watch.watch_once()
        assert await known_blocks(books) == canonical(books)

    async def test_does_not_mix_two_forks_when_one_replaces_the_other_midway(
        self, books: Books
    ) -> None:
        books.chain.mine(3)
        await books.watch.watch_once()
        books.chain.mine(3)
        asked = books.chain.block
        calls = 0

        async def switching(height: int) -> Block | None:
            nonlocal calls
            calls += 1
            if calls == 3:
                books.chain.rollback(3)
                books.chain.mine(4)
            return await asked(height)

        books.chain.block = switching  # type: ignore[method-assign]
        await books.watch.watch_once()
        books.chain.block = asked  # type: ignore[method-assign]
        await books.watch.watch_once()
        assert await known_blocks(books) == canonical(books)

    async def test_survives_two_watchers(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.chain.mine(4)
        await asyncio.gather(*(books.watch.watch_once() for _ in range(3)), return_exceptions=True)
        await books.watch.watch_once()
        assert await known_blocks(books) == canonical(books)
        assert await row_status(books, batch_id) == Status.CONFIRMED


class TestConfirmation:
    async def test_counts_the_tip_as_one(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        for expected in (Status.MINED, Status.MINED, Status.CONFIRMED):
            books.chain.mine()
            await books.watch.watch_once()
            assert await row_status(books, batch_id) == expected

    async def test_names_the_batches_that_moved_until_they_are_settled(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.chain.mine(2)
        assert (await books.watch.watch_once()).batches == []
        books.chain.mine()
        assert (await books.watch.watch_once()).batches == [batch_id]
        assert (await books.watch.watch_once()).batches == [batch_id]
        await books.log.settle(batch_id)
        assert (await books.watch.watch_once()).batches == []

    async def test_waits_for_the_finalized_block_where_the_chain_has_one(
        self, books: Books
    ) -> None:
        await books.execute("UPDATE chain SET finality = 'finalized'")
        batch_id = await books.broadcast(100)
        books.chain.mine(40)
        await books.watch.watch_once()
        assert await row_status(books, batch_id) == Status.MINED
        books.chain.finalized_height = 0
        await books.watch.watch_once()
        assert await row_status(books, batch_id) == Status.MINED
        books.chain.finalized_height = 1
        await books.watch.watch_once()
        assert await row_status(books, batch_id) == Status.CONFIRMED

    async def test_settles_amount_and_fees(self, books: Books) -> None:
        batch_id = await books.settled(100)
        assert await payout_status(books) == PayoutStatus.SETTLED
        assert await books.money() == (FUNDS - 100 - FEE_MINOR, 0)
        assert await books.in_flight() == 0
        assert await books.balance(chart.SERVICE_FEES) == FEE_MINOR
        assert await books.omnibus() == FUNDS - 100 - NETWORK_FEE
        (row,) = await books.transactions(batch_id)
        assert row.txid == books.chain.offered[0]
        await books.assert_sound()

    async def test_of_a_failed_transfer_gives_the_money_back_but_not_the_gas(
        self, books: Books
    ) -> None:
        books.chain.reverts = {DESTINATION}
        batch_id = await books.settled(100)
        assert await row_status(books, batch_id) == Status.REVERTED
        (payout,) = await books.payouts()
        assert (payout.status, payout.reason_code) == (
            PayoutStatus.REFUNDED,
            "reverted_on_chain",
        )
        assert await books.money() == (FUNDS, 0)
        assert await books.omnibus() == FUNDS - NETWORK_FEE
        await books.assert_sound()


class TestToken:
    @pytest.fixture(autouse=True)
    async def tokens(self, books: Books, funds: None) -> None:
        del funds
        await books.deposit("u1", "USD", 1_000)

    async def test_pays_its_fees_in_the_native_asset(self, books: Books) -> None:
        await books.settled(100, asset="USD")
        assert await books.omnibus("USD") == 900
        assert await books.omnibus("ETH") == FUNDS - NETWORK_FEE
        assert await books.money("u1", "USD") == (1_000 - 100 - FEE_MINOR, 0)
        await books.assert_sound()

    async def test_that_takes_more_than_the_amount_costs_us(self, books: Books) -> None:
        books.chain.surcharge_minor = 7
        await books.settled(100, asset="USD")
        assert await payout_status(books) == PayoutStatus.SETTLED
        assert await books.omnibus("USD") == 893
        assert await books.balance(chart.network_fees(CHAIN), "USD") == -7
        await books.assert_sound()

    async def test_that_takes_money_and_delivers_none_leaves_suspense(self, books: Books) -> None:
        books.chain.swallows = {DESTINATION}
        await books.settled(100, asset="USD")
        assert await payout_status(books) == PayoutStatus.REFUNDED
        assert await books.omnibus("USD") == 900
        assert await books.balance(chart.SUSPENSE, "USD") == -100
        assert await books.money("u1", "USD") == (1_000, 0)
        await books.assert_sound()


class TestSettle:
    async def test_posts_once_when_asked_at_the_same_time(self, books: Books) -> None:
        batch_id = await books.broadcast(100, 200, 300)
        books.chain.mine(3)
        await books.watch.watch_once()
        outcomes = await asyncio.gather(*(books.log.settle(batch_id) for _ in range(8)))
        assert all(outcome.is_done for outcome in outcomes)
        assert await books.omnibus() == FUNDS - 600 - 3 * NETWORK_FEE
        assert await books.in_flight() == 0
        await books.assert_sound()

    async def test_leaves_what_is_not_confirmed(self, books: Books) -> None:
        batch_id = await books.broadcast(100, 200)
        first, _ = books.chain.offered
        books.chain.mine(3, only=[first])
        await books.watch.watch_once()
        outcome = await books.log.settle(batch_id)
        assert (outcome.is_done, outcome.to_notify) == (False, 1)
        assert await books.in_flight() > 0

    async def test_never_deadlocks_with_what_users_do_meanwhile(self, books: Books) -> None:
        books.chain.reverts = {DESTINATION}
        other = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
        for _ in range(8):
            for destination in (DESTINATION, other) * 2:
                await books.freeze(destination=destination)
            batch_id = await books.broadcast(100)
            books.chain.mine(3)
            await books.watch.watch_once()
            await asyncio.gather(
                books.log.settle(batch_id),
                books.watch.watch_once(),
                *(books.freeze() for _ in range(6)),
            )
            await books.execute("UPDATE payout SET status = 'settled' WHERE status = 'ready'")


class TestBump:
    async def test_settles_once_when_the_replacement_is_mined(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.wait(61)
        await books.runner.plan_bumps(batch_id)
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        books.chain.mine(3)
        await books.watch.watch_once()
        assert (await books.log.settle(batch_id)).is_done
        (row,) = await books.transactions(batch_id)
        assert row.txid == books.chain.offered[1]
        assert await books.omnibus() == FUNDS - 100 - NETWORK_FEE
        await books.assert_sound()

    async def test_settles_once_when_the_first_is_mined_after_all(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        first = books.chain.offered[0]
        books.wait(61)
        await books.runner.plan_bumps(batch_id)
        await books.signer.sign(batch_id)
        books.chain.mine(1, only=[first])
        books.chain.answers = [NonceTooLowError()]
        with pytest.raises(NonceTooLowError):
            await books.runner.broadcast(batch_id)
        books.chain.mine(2)
        await books.watch.watch_once()
        assert (await books.log.settle(batch_id)).is_done
        (row,) = await books.transactions(batch_id)
        assert row.txid == first
        await books.assert_sound()

    async def test_swapped_by_a_reorg_settles_once(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        first = books.chain.offered[0]
        books.wait(61)
        await books.runner.plan_bumps(batch_id)
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        second = books.chain.offered[1]
        books.chain.mine(3, only=[first])
        await books.watch.watch_once()
        await books.log.settle(batch_id)
        books.chain.rollback(3)
        books.chain.gas_price_minor = 12
        books.chain.mine(3, only=[second])
        await books.watch.watch_once()
        (row,) = await books.transactions(batch_id)
        assert (row.txid, row.status) == (second, Status.CONFIRMED)
        assert await books.omnibus() == FUNDS - 100 - GAS_USED * 12
        assert await suspense(books) == 0
        await books.assert_sound()


class TestReorg:
    async def test_before_confirmation_goes_back_to_broadcast_and_offers_again(
        self, books: Books
    ) -> None:
        batch_id = await books.broadcast(100)
        books.chain.mine(2)
        await books.watch.watch_once()
        books.chain.rollback(2, forget=True)
        books.chain.mine(1)
        books.wait(11)
        assert (await books.watch.watch_once()).batches == [batch_id]
        assert await row_status(books, batch_id) == Status.BROADCAST
        assert len(books.chain.offered) == 2
        assert len(books.chain.pool) == 1
        books.chain.mine(3)
        await books.watch.watch_once()
        await books.log.settle(batch_id)
        assert await payout_status(books) == PayoutStatus.SETTLED
        await books.assert_sound()

    async def test_offers_no_oftener_than_it_should(self, books: Books) -> None:
        await books.broadcast(100)
        for _ in range(3):
            await books.watch.watch_once()
        assert len(books.chain.offered) == 1
        books.wait(11)
        for _ in range(3):
            await books.watch.watch_once()
        assert len(books.chain.offered) == 2

    async def test_between_confirmation_and_settlement_settles_nothing(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.chain.mine(3)
        await books.watch.watch_once()
        books.chain.rollback(3, forget=True)
        books.chain.mine(1)
        await books.watch.watch_once()
        outcome = await books.log.settle(batch_id)
        assert not outcome.is_done
        assert await payout_status(books) == PayoutStatus.BATCHED
        assert await books.in_flight() == 100 + FEE_MINOR

    async def test_after_settlement_posts_only_the_difference_in_fee(self, books: Books) -> None:
        batch_id = await books.settled(100)
        for price in (12, 5, 9):
            books.chain.rollback(3)
            books.chain.gas_price_minor = price
            books.chain.mine(3)
            await books.watch.watch_once()
            assert await books.omnibus() == FUNDS - 100 - GAS_USED * price
            assert await row_status(books, batch_id) == Status.CONFIRMED
        assert await payout_status(books) == PayoutStatus.SETTLED
        assert await suspense(books) == 0
        await books.assert_sound()

    async def test_back_to_the_first_fork_posts_the_difference_again(self, books: Books) -> None:
        """A block that was left and comes back has the hash under which its fee was booked."""
        await books.settled(100)
        first_fork = books.chain.blocks[-3:]
        for price, blocks in ((12, None), (9, first_fork), (12, None), (9, first_fork)):
            books.chain.rollback(3)
            books.chain.gas_price_minor = price
            books.chain.mine(3)
            if blocks:
                books.chain.become(blocks)
            await books.watch.watch_once()
            assert await books.omnibus() == FUNDS - 100 - GAS_USED * price
        await books.assert_sound()

    async def test_after_settlement_that_turns_it_into_a_failure_leaves_suspense(
        self, books: Books
    ) -> None:
        batch_id = await books.settled(100)
        books.chain.rollback(3)
        books.chain.reverts = {DESTINATION}
        books.chain.mine(3)
        await books.watch.watch_once()
        assert await row_status(books, batch_id) == Status.REVERTED
        assert await payout_status(books) == PayoutStatus.SETTLED
        assert await suspense(books) == 100
        assert await books.omnibus() == FUNDS - NETWORK_FEE
        await books.assert_sound()

    async def test_after_a_refund_that_turns_it_into_a_payment_leaves_suspense(
        self, books: Books
    ) -> None:
        books.chain.reverts = {DESTINATION}
        batch_id = await books.settled(100)
        books.chain.rollback(3)
        books.chain.reverts = set()
        books.chain.mine(3)
        await books.watch.watch_once()
        assert await row_status(books, batch_id) == Status.CONFIRMED
        assert await payout_status(books) == PayoutStatus.REFUNDED
        assert await suspense(books) == -100
        assert await books.omnibus() == FUNDS - 100 - NETWORK_FEE
        await books.assert_sound()

    async def test_that_changes_nothing_posts_nothing(self, books: Books) -> None:
        batch_id = await books.settled(100)
        before = await books.omnibus()
        books.chain.rollback(3)
        books.chain.mine(3)
        await books.watch.watch_once()
        await books.log.settle(batch_id)
        assert await books.omnibus() == before


Step = Callable[[], Awaitable[object]]


class TestInterleaving:
    async def test_of_watch_broadcast_settle_and_sign_never_deadlocks(self, books: Books) -> None:
        amounts = [100] * 12
        batch_id = await books.broadcast(*amounts)
        for turn in range(6):
            books.chain.mine(2)
            steps: list[Step] = [
                books.watch.watch_once,
                lambda: books.log.settle(batch_id),
                lambda: books.runner.broadcast(batch_id),
                lambda: books.signer.sign(batch_id),
                lambda: books.runner.plan_bumps(batch_id),
            ]
            await asyncio.gather(*(step() for step in steps))
            if turn % 2:
                books.chain.rollback(3)
            books.wait(61)
        books.chain.mine(4)
        await books.watch.watch_once()
        assert (await books.log.settle(batch_id)).is_done
        assert {p.status for p in await books.payouts()} == {PayoutStatus.SETTLED}
        assert await books.in_flight() == 0
        await books.assert_sound()
