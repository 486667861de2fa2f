"""Bulk payouts on every kind of UTXO node: many lines in few transactions, each paid once."""

import pytest

from domain.payouts import PayoutStatus
from domain.runs import RunStatus
from models.chain_transactions import ChainTransactionStatus
from runs.desk import PostgresRunDesk
from tests.support.coin_books import COIN, FEE_MINOR, UNIT, CoinBooks
from tests.support.runs import started_run

LINES = 12


@pytest.fixture
async def books(coin_books: CoinBooks) -> CoinBooks:
    await coin_books.top_up(UNIT)
    await coin_books.give("u1", UNIT // 2)
    return coin_books


def payments(books: CoinBooks) -> list[tuple[str, int]]:
    return [(books.node.fresh_address(), 20_000 + place) for place in range(LINES)]


async def started(books: CoinBooks, paid: list[tuple[str, int]]) -> str:
    return await started_run(books, paid, asset=COIN, chain_id=books.chain_id, fee_minor=FEE_MINOR)


async def assert_all_paid(books: CoinBooks, run_id: str, paid: list[tuple[str, int]]) -> None:
    standing = await PostgresRunDesk(books.worker, books.clock).advance(run_id)
    assert standing.status == RunStatus.FINISHED
    assert standing.lines == {PayoutStatus.SETTLED: LINES}
    assert [await books.node.balance(address) for address, _ in paid] == [a for _, a in paid]
    await books.assert_books_equal_chain()


class TestRun:
    async def test_pays_every_line_in_one_transaction(self, books: CoinBooks) -> None:
        paid = payments(books)
        run_id = await started(books, paid)
        batch_id = await books.broadcast()
        assert len(await books.transactions()) == 1
        await books.mine(2)
        assert (await books.log.settle(batch_id)).is_done
        await assert_all_paid(books, run_id, paid)

    async def test_waits_for_its_own_change_where_coins_are_few(self, books: CoinBooks) -> None:
        """Two transactions and one coin: the lines of the second leave when the first is mined."""
        await books.execute(f"UPDATE chain SET outputs_max = {LINES // 2}")  # noqa: S608
        paid = payments(books)
        run_id = await started(books, paid)
        first = await books.broadcast()
        statuses = sorted(payout.status for payout in await books.payouts())
        assert statuses == [PayoutStatus.BATCHED] * 6 + [PayoutStatus.READY] * 6
        await books.mine(2)
        await books.log.settle(first)
        second = await books.broadcast()
        await books.mine(2)
        await books.log.settle(second)
        rows = await books.transactions()
        assert sorted(row.status for row in rows) == [
            ChainTransactionStatus.ABANDONED,
            ChainTransactionStatus.CONFIRMED,
            ChainTransactionStatus.CONFIRMED,
        ]
        await assert_all_paid(books, run_id, paid)

    async def test_taken_out_by_a_reorg_is_paid_once(self, books: CoinBooks) -> None:
        paid = payments(books)
        run_id = await started(books, paid)
        batch_id = await books.broadcast()
        await books.mine(1)
        await books.node.reorg(1, is_remining=False)
        await books.look()
        books.wait(11)
        await books.look()
        await books.mine(2)
        await books.log.settle(batch_id)
        await assert_all_paid(books, run_id, paid)
