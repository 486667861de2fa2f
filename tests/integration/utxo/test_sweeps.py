"""Deposits end in the hot wallet, and pay others from there."""

import pytest

from domain.payouts import PayoutStatus
from ledger import chart
from models.chain_transactions import ChainTransactionKind
from models.deposits import UserFreeze
from sweeps.coins import CoinSweeper
from tests.support.coin_books import CoinBooks


@pytest.fixture
def books(coin_books: CoinBooks) -> CoinBooks:
    return coin_books


@pytest.fixture
def sweeper(books: CoinBooks) -> CoinSweeper:
    return CoinSweeper(books.worker, books.outlet, books.clock)


class TestSweep:
    async def test_collects_what_is_credited_and_pays_from_it(
        self, books: CoinBooks, sweeper: CoinSweeper
    ) -> None:
        for amount_minor in (300_000, 200_000):
            await books.node.fund(await books.address(), amount_minor)
        await books.mine(1)
        assert (await sweeper.plan(is_forced=True)).batches == []
        await books.mine(1)
        assert await books.available() == 500_000

        (batch_id,) = (await sweeper.plan(is_forced=False)).batches
        assert (await sweeper.plan(is_forced=False)).batches == [batch_id]
        assert (await books.signer.sign(batch_id)).signed == 1
        await books.runner.broadcast(batch_id)
        await books.mine(2)
        assert (await books.log.settle(batch_id)).is_done
        (attempt,) = await books.attempts()
        fee_minor = attempt.fee_minor or 0
        hot_minor = -await books.balance(chart.omnibus_hot(books.chain_id))
        assert hot_minor == 500_000 - fee_minor
        assert await books.balance(chart.omnibus_deposit(books.chain_id)) == 0
        await books.assert_books_equal_chain()

        destination = books.node.fresh_address()
        await books.freeze(destination, 100_000)
        payout_batch = await books.broadcast()
        await books.mine(2)
        await books.log.settle(payout_batch)
        assert [p.status for p in await books.payouts()] == [PayoutStatus.SETTLED]
        assert await books.node.balance(destination) == 100_000
        await books.assert_books_equal_chain()

    async def test_goes_on_while_the_depositor_is_frozen(
        self, books: CoinBooks, sweeper: CoinSweeper
    ) -> None:
        await books.node.fund(await books.address(), 300_000)
        await books.mine(2)
        async with books.worker.transaction() as session:
            session.add(UserFreeze(id="frz_1", user_id="u1"))
        (batch_id,) = (await sweeper.plan(is_forced=True)).batches
        assert (await books.signer.sign(batch_id)).signed == 1

    async def test_leaves_what_is_too_little_until_it_is_told(
        self, books: CoinBooks, sweeper: CoinSweeper
    ) -> None:
        await books.node.fund(await books.address(), 15_000)
        await books.mine(2)
        # After enough blocks a node estimates fees from what tests paid: no part of this one.
        async with books.owner.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("UPDATE chain SET sweep_fee_max_bps = 10000")
        assert (await sweeper.plan(is_forced=False)).batches == []
        assert len((await sweeper.plan(is_forced=True)).batches) == 1

    async def test_never_pays_more_than_its_share_in_fees(
        self, books: CoinBooks, sweeper: CoinSweeper
    ) -> None:
        await books.node.fund(await books.address(), 300_000)
        await books.mine(2)
        async with books.owner.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("UPDATE chain SET sweep_fee_max_bps = 1")
        assert (await sweeper.plan(is_forced=True)).batches == []

    async def test_to_a_stranger_is_not_signed(
        self, books: CoinBooks, sweeper: CoinSweeper
    ) -> None:
        await books.node.fund(await books.address(), 300_000)
        await books.mine(2)
        (batch_id,) = (await sweeper.plan(is_forced=True)).batches
        stranger = books.node.fresh_address()
        async with books.owner.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql(
                "UPDATE chain_transaction SET destination = %s", (stranger,)
            )
        assert (await books.signer.sign(batch_id)).refused == 1
        await books.log.give_up_refused(batch_id)
        (row,) = await books.transactions()
        assert (row.kind, row.status) == (ChainTransactionKind.SWEEP, "abandoned")
        (deposit,) = await books.all_deposits()
        assert deposit.swept_by is None
