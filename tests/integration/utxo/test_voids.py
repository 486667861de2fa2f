"""Signed transactions whose coins a reorg took away for good: given up, but never before."""

import pytest

from domain.errors import PayoutStateError
from domain.payouts import OperatorAction, PayoutStatus
from ledger import chart
from models.chain_transactions import ChainTransactionStatus as Status
from models.deposits import Utxo
from payouts.explain import explain
from payouts.queries import payout_detail
from sweeps.coins import CoinSweeper
from tests.support.coin_books import UNIT, CoinBooks


@pytest.fixture
async def books(coin_books: CoinBooks) -> CoinBooks:
    await coin_books.top_up(UNIT, UNIT // 2)
    await coin_books.give("u1", UNIT + UNIT // 4)
    return coin_books


async def large_payout(books: CoinBooks) -> tuple[str, str]:
    """Broadcast a payout that needs both coins; return its batch and its id."""
    accepted = await books.freeze(books.node.fresh_address(), UNIT + UNIT // 10)
    batch_id = await books.broadcast()
    assert len([coin for coin in await books.coins() if coin.locked_by]) == 2
    return batch_id, accepted.payout_id


async def coin_of(books: CoinBooks, amount_minor: int) -> Utxo:
    (coin,) = [coin for coin in await books.coins() if coin.amount_minor == amount_minor]
    return coin


async def refund(books: CoinBooks, payout_id: str) -> PayoutStatus:
    return (await books.log.refund(OperatorAction(payout_id, "op"))).status


@pytest.mark.parametrize("utxo_node", ["development"], indirect=True)
class TestPayout:
    async def test_is_given_up_and_refunded_when_its_coin_is_gone_for_good(
        self, books: CoinBooks
    ) -> None:
        before = await books.available()
        batch_id, payout_id = await large_payout(books)
        gone = await coin_of(books, UNIT)
        await books.node.reorg(1, drop=[gone.txid])
        await books.look()
        assert (await books.log.settle(batch_id)).is_done
        (row,) = await books.transactions()
        assert (row.status, row.reason_code) == (Status.ABANDONED, "input_gone")
        assert [coin.locked_by for coin in await books.coins()] == [None, None]

        async with books.owner.transaction() as session:
            detail = await payout_detail(session, payout_id, user_id=None)
            said = await explain(session, detail, now=books.clock.now())
        assert said.waiting_for == "input_gone"
        with pytest.raises(PayoutStateError, match="never signed again"):
            await books.log.retry(OperatorAction(payout_id, "op"))
        assert await refund(books, payout_id) == PayoutStatus.REFUNDED
        assert await books.available() == before

    async def test_leaves_its_other_coin_to_the_next(self, books: CoinBooks) -> None:
        batch_id, payout_id = await large_payout(books)
        await books.node.reorg(1, drop=[(await coin_of(books, UNIT)).txid])
        await books.look()
        await books.log.settle(batch_id)
        await refund(books, payout_id)
        destination = books.node.fresh_address()
        await books.freeze(destination, UNIT // 4)
        second = await books.broadcast()
        await books.mine(2)
        assert (await books.log.settle(second)).is_done
        assert await books.node.balance(destination) == UNIT // 4

    async def test_waits_until_that_is_deep_enough(self, books: CoinBooks) -> None:
        batch_id, payout_id = await large_payout(books)
        await books.execute("UPDATE chain SET confirmations_min = 3")
        await books.node.reorg(1, drop=[(await coin_of(books, UNIT)).txid])
        await books.look()
        assert not (await books.log.settle(batch_id)).is_done
        with pytest.raises(PayoutStateError, match="signed"):
            await refund(books, payout_id)
        await books.mine(1)
        assert await refund(books, payout_id) == PayoutStatus.REFUNDED

    async def test_is_not_given_up_while_its_coin_may_come_back(self, books: CoinBooks) -> None:
        batch_id, payout_id = await large_payout(books)
        await books.node.reorg(1, is_remining=False)
        await books.look()
        assert (await coin_of(books, UNIT)).block_hash is None
        assert not (await books.log.settle(batch_id)).is_done
        with pytest.raises(PayoutStateError, match="signed"):
            await refund(books, payout_id)
        await books.mine(3)
        assert (await books.log.settle(batch_id)).is_done
        assert [p.status for p in await books.payouts()] == [PayoutStatus.SETTLED]
        await books.assert_books_equal_chain()

    async def test_goes_with_what_its_coin_was_made_from(self, books: CoinBooks) -> None:
        first, _ = await large_payout(books)
        await books.mine(2)
        await books.log.settle(first)
        await books.give("u1", UNIT)
        await books.freeze(books.node.fresh_address(), UNIT // 5)
        second = await books.broadcast()
        await books.node.reorg(3, drop=[(await coin_of(books, UNIT)).txid])
        await books.look()
        by_batch = {row.batch_id: row for row in await books.transactions()}
        assert {row.reason_code for row in by_batch.values()} == {"input_gone"}
        # The books follow: what was settled has not left after all.
        assert (by_batch[first].status, by_batch[second].status) == (
            Status.REVERTED,
            Status.ABANDONED,
        )
        assert -await books.balance(chart.omnibus_hot(books.chain_id)) == UNIT + UNIT // 2
        assert not any(coin.locked_by for coin in await books.coins())

    async def test_shows_in_the_books_if_it_is_mined_after_its_refund(
        self, books: CoinBooks
    ) -> None:
        batch_id, payout_id = await large_payout(books)
        first, second = [(await coin_of(books, UNIT // n)).txid for n in (1, 2)]
        parents = [await books.node.rpc("getrawtransaction", txid) for txid in (first, second)]
        await books.node.reorg(1, drop=[first])
        await books.look()
        await refund(books, payout_id)
        (attempt,) = await books.attempts()
        again = [*parents, (attempt.raw or b"").hex()]
        await books.node.reorg(2, instead=again, is_remining=False)
        await books.look()
        await books.log.settle(batch_id)
        assert [p.status for p in await books.payouts()] == [PayoutStatus.REFUNDED]
        assert -await books.balance(chart.SUSPENSE) == UNIT + UNIT // 10
        await books.assert_books_equal_chain()


@pytest.mark.parametrize("utxo_node", ["litecoind"], indirect=True)
class TestFeeChild:
    async def test_goes_with_its_parent(self, books: CoinBooks) -> None:
        batch_id, payout_id = await large_payout(books)
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        await books.node.reorg(1, drop=[(await coin_of(books, UNIT)).txid])
        await books.look()
        await books.look()
        rows = await books.transactions()
        assert [(row.status, row.reason_code) for row in rows] == [
            (Status.ABANDONED, "input_gone")
        ] * 2
        assert (await books.log.settle(batch_id)).is_done
        assert await refund(books, payout_id) == PayoutStatus.REFUNDED


@pytest.mark.parametrize("utxo_node", ["development"], indirect=True)
class TestSweep:
    async def test_lets_the_other_deposits_be_swept_again(self, coin_books: CoinBooks) -> None:
        books = coin_books
        sweeper = CoinSweeper(books.worker, books.outlet, books.clock)
        await books.top_up(UNIT)
        for amount_minor in (300_000, 200_000):
            await books.node.fund(await books.address(), amount_minor)
        await books.mine(2)
        (batch_id,) = (await sweeper.plan(is_forced=True)).batches
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        await books.node.reorg(2, drop=[(await coin_of(books, 300_000)).txid])
        await books.look()
        assert (await books.log.settle(batch_id)).is_done
        await books.mine(2)
        (again,) = (await sweeper.plan(is_forced=True)).batches
        assert again != batch_id
        assert (await coin_of(books, 300_000)).locked_by is None
        assert (await books.signer.sign(again)).signed == 1
        await books.runner.broadcast(again)
        await books.mine(2)
        assert (await books.log.settle(again)).is_done
