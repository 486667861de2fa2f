"""Payouts in Jobcoin: several in one transaction, exactly once, whatever the node says."""

import pytest

from domain.errors import InsufficientGasFundsError, NonceTooLowError
from domain.payouts import PayoutStatus
from domain.pockets import Route
from models.chain_transactions import ChainTransactionKind as Kind
from models.chain_transactions import ChainTransactionStatus as Status
from tests.support.jobcoin import Purse
from tests.support.jobcoin_books import CONFIRMATIONS, FEE_MINOR, HOT_MINOR, JOB, JobcoinBooks


async def settled(books: JobcoinBooks) -> bool:
    return all(payout.status == PayoutStatus.SETTLED for payout in await books.payouts())


class TestPayout:
    async def test_settles(self, jobcoin_books: JobcoinBooks) -> None:
        books, destination = jobcoin_books, Purse().address
        await books.credited(3 * JOB)
        await books.freeze(destination, JOB)
        await books.pay_out()
        await books.mine(CONFIRMATIONS)

        assert await settled(books)
        assert await books.world.balance(destination) == JOB
        assert await books.available() == 2 * JOB - FEE_MINOR
        await books.assert_books_equal_chain()

    async def test_shares_a_transaction_with_those_of_others(
        self, jobcoin_books: JobcoinBooks
    ) -> None:
        books = jobcoin_books
        destinations = [Purse().address for _ in range(6)]
        for user_id in ("u1", "u2"):
            await books.credited(10 * JOB, user_id=user_id)
            for place, destination in enumerate(destinations):
                if (place % 2 == 0) == (user_id == "u1"):
                    await books.freeze(destination, (place + 1) * JOB // 10, user_id=user_id)
        await books.pay_out()
        await books.mine(CONFIRMATIONS)
        (row,) = await books.transactions()

        assert (row.kind, row.status, row.destination) == (Kind.PAYOUT, Status.CONFIRMED, None)
        assert row.network_fee_minor == 0
        assert await settled(books)
        held = [await books.world.balance(destination) for destination in destinations]
        assert held == [(place + 1) * JOB // 10 for place in range(6)]
        await books.assert_books_equal_chain()

    async def test_leaves_out_who_was_frozen_meanwhile(self, jobcoin_books: JobcoinBooks) -> None:
        books = jobcoin_books
        first, second = Purse().address, Purse().address
        for user_id, destination in (("u1", first), ("u2", second)):
            await books.credited(2 * JOB, user_id=user_id)
            await books.freeze(destination, JOB, user_id=user_id)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await books.freeze_user("u2")
        await books.drive(batch_id)
        await books.mine(CONFIRMATIONS)

        assert await books.world.balance(first) == JOB
        assert await books.world.balance(second) == 0
        waiting = {p.user_id: p.status for p in await books.payouts()}
        assert waiting == {"u1": PayoutStatus.SETTLED, "u2": PayoutStatus.READY}

    async def test_is_paid_once_however_often_each_step_is_done(
        self, jobcoin_books: JobcoinBooks
    ) -> None:
        books, destination = jobcoin_books, Purse().address
        await books.credited(3 * JOB)
        await books.freeze(destination, JOB)
        batch_id = await books.claim()
        for _ in range(2):
            await books.runner.prepare(batch_id)
            await books.log.allocate(batch_id)
            await books.signer.sign(batch_id)
            await books.runner.broadcast(batch_id)
        await books.mine()
        await books.runner.broadcast(batch_id)
        await books.mine(CONFIRMATIONS)

        assert await settled(books)
        assert await books.world.balance(destination) == JOB
        assert len(await books.attempts()) == 1
        await books.assert_books_equal_chain()

    async def test_is_never_replaced_since_nothing_is_paid(
        self, jobcoin_books: JobcoinBooks
    ) -> None:
        books = jobcoin_books
        await books.credited(3 * JOB)
        await books.freeze(Purse().address, JOB)
        batch_id = await books.pay_out()
        books.wait(10_000)

        assert await books.runner.plan_bumps(batch_id) == 0
        assert len(await books.attempts()) == 1

    async def test_comes_back_into_a_block_after_a_reorg(self, jobcoin_books: JobcoinBooks) -> None:
        books, destination = jobcoin_books, Purse().address
        await books.credited(3 * JOB)
        await books.freeze(destination, JOB)
        await books.pay_out()
        await books.mine()
        await books.world.roll_back(1)
        await books.world.mine(CONFIRMATIONS)
        for _ in range(2):
            await books.look()

        assert await settled(books)
        assert await books.world.balance(destination) == JOB
        await books.assert_books_equal_chain()

    async def test_waits_while_the_hot_wallet_is_short(self, jobcoin_books: JobcoinBooks) -> None:
        books = jobcoin_books
        await books.credited(HOT_MINOR + 2 * JOB)
        await books.freeze(Purse().address, HOT_MINOR + JOB)
        batch_id = await books.claim()
        with pytest.raises(InsufficientGasFundsError):
            await books.runner.prepare(batch_id)
        await books.sweep()
        await books.mine(CONFIRMATIONS)
        await books.drive(batch_id)
        await books.mine(CONFIRMATIONS)

        assert await settled(books)
        await books.assert_books_equal_chain()

    async def test_whose_nonce_a_stranger_used_is_not_taken_for_paid(
        self, jobcoin_books: JobcoinBooks
    ) -> None:
        """The key was used elsewhere, which must never happen; nobody is told that it was paid."""
        books, destination = jobcoin_books, Purse().address
        await books.credited(3 * JOB)
        stolen = Purse()
        stolen.private_key, stolen.address = await books.vault.private_key(books.hot), books.hot
        await books.outlet.broadcast(stolen.pay({Purse().address: 1}).raw)
        await books.mine()
        await books.freeze(destination, JOB)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        assert await books.log.allocate(batch_id)
        await books.signer.sign(batch_id)
        with pytest.raises(NonceTooLowError):
            await books.runner.broadcast(batch_id)
        await books.mine(CONFIRMATIONS)

        assert await books.world.balance(destination) == 0
        assert not await settled(books)

    async def test_that_the_signer_refuses_leaves_its_nonce_to_a_filler(
        self, jobcoin_books: JobcoinBooks
    ) -> None:
        books, destination = jobcoin_books, Purse().address
        await books.credited(5 * JOB)
        await books.freeze(Purse().address, JOB)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        assert await books.log.allocate(batch_id)
        await books.switch("JOB", is_enabled=False)
        assert (await books.signer.sign(batch_id)).refused == 1
        await books.log.give_up_refused(batch_id)
        assert (await books.signer.sign(batch_id)).signed == 1
        await books.runner.broadcast(batch_id)
        await books.switch("JOB", is_enabled=True)
        await books.freeze(destination, JOB)
        await books.pay_out()
        await books.mine(CONFIRMATIONS)

        kinds = {row.kind: row.status for row in await books.transactions() if row.txid}
        assert kinds == {Kind.NONCE_FILLER: Status.CONFIRMED, Kind.PAYOUT: Status.CONFIRMED}
        assert await books.world.balance(destination) == JOB
        await books.assert_books_equal_chain()


class TestPocket:
    async def test_is_funded_and_pays_without_any_gas(self, jobcoin_books: JobcoinBooks) -> None:
        books, destination = jobcoin_books, Purse().address
        await books.credited(5 * JOB)
        funded = await books.ask(Route.FUND, 3 * JOB)
        await books.pocket_desk.make_ready(funded)
        await books.pay_out()
        await books.mine(CONFIRMATIONS)
        await books.assert_books_equal_chain()
        sent = await books.ask(Route.SEND, JOB, destination)
        await books.spend(sent)
        await books.mine(CONFIRMATIONS)

        assert await books.world.balance(destination) == JOB
        assert await settled(books)
        assert {row.kind for row in await books.transactions()} == {Kind.PAYOUT, Kind.POCKET_SPEND}
        await books.assert_books_equal_chain()
