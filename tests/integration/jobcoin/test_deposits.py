"""Deposits of Jobcoin: seen in the pool, credited at their depth, swept whole."""

from domain.deposits import DepositStatus
from models.chain_transactions import ChainTransactionKind as Kind
from models.chain_transactions import ChainTransactionStatus as Status
from tests.support.jobcoin_books import CONFIRMATIONS, HOT_MINOR, JOB, JobcoinBooks


async def statuses(books: JobcoinBooks) -> list[str]:
    return sorted(deposit.status for deposit in await books.all_deposits())


class TestDeposit:
    async def test_is_seen_confirmed_and_credited_once(self, jobcoin_books: JobcoinBooks) -> None:
        books = jobcoin_books
        await books.pay({await books.address(): JOB})
        await books.look()
        assert await statuses(books) == [DepositStatus.SEEN]
        for _ in range(CONFIRMATIONS - 1):
            await books.mine()
            assert await statuses(books) == [DepositStatus.CONFIRMING]
            assert await books.available() == 0
        for _ in range(3):
            await books.mine()
            assert await statuses(books) == [DepositStatus.CREDITED]
        assert await books.available() == JOB
        await books.assert_books_equal_chain()

    async def test_of_one_transaction_goes_to_each(self, jobcoin_books: JobcoinBooks) -> None:
        books = jobcoin_books
        first, second = await books.address("u1"), await books.address("u2")
        await books.pay({first: JOB, books.destination(): JOB, second: 2 * JOB})
        await books.mine(CONFIRMATIONS)

        assert (await books.available("u1"), await books.available("u2")) == (JOB, 2 * JOB)
        assert {d.position for d in await books.all_deposits()} == {"out:0", "out:2"}
        await books.assert_books_equal_chain()

    async def test_that_a_reorg_moved_is_credited_once(self, jobcoin_books: JobcoinBooks) -> None:
        books = jobcoin_books
        await books.pay({await books.address(): JOB})
        await books.mine()
        await books.world.roll_back(1)
        await books.world.mine(CONFIRMATIONS)
        for _ in range(3):
            await books.look()

        assert await statuses(books) == [DepositStatus.CREDITED]
        assert await books.available() == JOB
        await books.assert_books_equal_chain()

    async def test_below_the_least_is_recorded_only(self, jobcoin_books: JobcoinBooks) -> None:
        books = jobcoin_books
        await books.pay({await books.address(): 999})
        await books.mine(CONFIRMATIONS)

        assert await books.available() == 0
        assert len(await books.all_deposits()) == 1


class TestSweep:
    async def test_moves_everything_and_costs_nothing(self, jobcoin_books: JobcoinBooks) -> None:
        books = jobcoin_books
        address = await books.credited(3 * JOB)
        (batch_id,) = await books.sweep()
        await books.mine(CONFIRMATIONS)
        (row,) = await books.transactions()

        assert (row.kind, row.status, row.batch_id) == (Kind.SWEEP, Status.CONFIRMED, batch_id)
        assert await books.world.balance(address) == 0
        assert await books.world.balance(books.hot) == HOT_MINOR + 3 * JOB
        assert await books.sweep() == []
        await books.assert_books_equal_chain()
