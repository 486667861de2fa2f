"""Payouts from ready to settled on every kind of UTXO node."""

import pytest

from domain.payouts import PayoutStatus
from ledger import chart
from models.chain_transactions import ChainTransactionStatus as Status
from tests.support.coin_books import FEE_MINOR, UNIT, CoinBooks


@pytest.fixture
async def books(coin_books: CoinBooks) -> CoinBooks:
    await coin_books.top_up(UNIT, UNIT // 2)
    await coin_books.give("u1", UNIT)
    return coin_books


class TestBatch:
    async def test_pays_everybody_in_one_transaction(self, books: CoinBooks) -> None:
        destinations = [books.node.fresh_address() for _ in range(5)]
        for n, destination in enumerate(destinations):
            await books.freeze(destination, 100_000 + n)
        batch_id = await books.broadcast()
        (row,) = await books.transactions()
        assert row.status == Status.BROADCAST

        await books.mine(1)
        assert not (await books.log.settle(batch_id)).is_done
        await books.mine(1)
        assert (await books.log.settle(batch_id)).is_done

        assert {p.status for p in await books.payouts()} == {PayoutStatus.SETTLED}
        for n, destination in enumerate(destinations):
            assert await books.node.balance(destination) == 100_000 + n
        assert await books.balance(chart.SERVICE_FEES) == 5 * FEE_MINOR
        (attempt,) = await books.attempts()
        assert -await books.balance(chart.network_fees(books.chain_id)) == attempt.fee_minor
        await books.assert_books_equal_chain()
