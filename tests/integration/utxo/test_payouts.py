"""Payouts from ready to settled on every kind of UTXO node."""

import pytest

from domain.errors import InsufficientGasFundsError
from domain.payouts import PayoutStatus
from ledger import chart
from models.chain_transactions import ChainTransactionStatus as Status
from models.deposits import UserFreeze
from tests.support.coin_books import FEE_MINOR, UNIT, CoinBooks


@pytest.fixture
async def books(coin_books: CoinBooks) -> CoinBooks:
    await coin_books.top_up(UNIT, UNIT // 2)
    await coin_books.give("u1", UNIT)
    return coin_books


async def network_fees(books: CoinBooks) -> int:
    """Return what the books say that the chain took for this customer's payouts."""
    return -await books.balance(chart.customer_network_fees(books.chain_id, "u1"))


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
        assert await network_fees(books) == attempt.fee_minor
        parts = [p.network_fee_minor or 0 for p in await books.payouts()]
        assert sum(parts) == attempt.fee_minor
        assert max(parts) - min(parts) <= 1
        assert parts == [p.network_fee_estimate_minor for p in await books.payouts()]
        await books.assert_books_equal_chain()


class TestReorg:
    async def test_takes_a_payout_out_and_mines_it_again_once(self, books: CoinBooks) -> None:
        destination = books.node.fresh_address()
        await books.freeze(destination, 100_000)
        batch_id = await books.broadcast()
        await books.mine(1)
        await books.node.reorg(1, is_remining=False)
        await books.look()
        (row,) = await books.transactions()
        assert row.status == Status.BROADCAST
        books.wait(11)
        await books.look()
        await books.mine(2)
        await books.log.settle(batch_id)
        assert [p.status for p in await books.payouts()] == [PayoutStatus.SETTLED]
        assert await books.node.balance(destination) == 100_000
        await books.assert_books_equal_chain()

    async def test_after_settlement_changes_nothing_when_it_is_mined_again(
        self, books: CoinBooks
    ) -> None:
        destination = books.node.fresh_address()
        await books.freeze(destination, 100_000)
        batch_id = await books.broadcast()
        await books.mine(2)
        await books.log.settle(batch_id)
        await books.node.reorg(2)
        await books.look()
        await books.mine(1)
        assert await books.node.balance(destination) == 100_000
        await books.assert_books_equal_chain()


class TestBump:
    @pytest.mark.parametrize("utxo_node", ["development"], indirect=True)
    async def test_replaces_a_stuck_transaction_with_the_same_coins(self, books: CoinBooks) -> None:
        destination = books.node.fresh_address()
        await books.freeze(destination, 100_000)
        batch_id = await books.broadcast()
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        first, second = await books.attempts()
        assert await books.node.mempool() == [second.txid]
        assert (second.fee_minor or 0) > (first.fee_minor or 0)

        await books.mine(2)
        await books.log.settle(batch_id)
        assert await books.node.balance(destination) == 100_000
        assert await network_fees(books) == second.fee_minor
        await books.assert_books_equal_chain()

    @pytest.mark.parametrize("utxo_node", ["development", "litecoind"], indirect=True)
    async def test_stays_within_the_budget(self, books: CoinBooks) -> None:
        await books.freeze(books.node.fresh_address(), 100_000)
        batch_id = await books.broadcast()
        (first,) = await books.attempts()
        await books.execute(f"UPDATE chain SET bump_fee_max_minor = {first.fee_minor}")  # noqa: S608
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 0
        await books.execute("UPDATE chain SET bump_fee_max_minor = 100000000")
        assert await books.runner.plan_bumps(batch_id) == 1

    @pytest.mark.parametrize("utxo_node", ["development"], indirect=True)
    async def test_settles_once_when_a_reorg_swaps_the_attempts(self, books: CoinBooks) -> None:
        destination = books.node.fresh_address()
        await books.freeze(destination, 100_000)
        batch_id = await books.broadcast()
        (first,) = await books.attempts()
        books.wait(61)
        await books.runner.plan_bumps(batch_id)
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        await books.mine(2)
        await books.log.settle(batch_id)
        second = (await books.attempts())[1]
        raw = (first.raw or b"").hex()
        await books.node.reorg(2, drop=[str(second.txid)], instead=[raw])
        await books.look()
        await books.mine(1)
        (row,) = await books.transactions()
        assert (row.txid, row.status) == (first.txid, Status.CONFIRMED)
        assert await books.node.balance(destination) == 100_000
        assert await network_fees(books) == first.fee_minor
        await books.assert_books_equal_chain()

    @pytest.mark.parametrize("utxo_node", ["litecoind"], indirect=True)
    async def test_carries_it_along_by_a_child_where_nothing_is_replaced(
        self, books: CoinBooks
    ) -> None:
        destination = books.node.fresh_address()
        await books.freeze(destination, 100_000)
        batch_id = await books.broadcast()
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        parent, child = sorted(await books.transactions(), key=lambda row: row.kind, reverse=True)
        assert child.parent_id == parent.id
        assert len(await books.node.mempool()) == 2
        assert await books.runner.plan_bumps(batch_id) == 0

        await books.mine(2)
        await books.log.settle(batch_id)
        assert await books.node.balance(destination) == 100_000
        taken_minor = sum(a.fee_minor or 0 for a in await books.attempts())
        assert await network_fees(books) == taken_minor
        assert [p.network_fee_minor for p in await books.payouts()] == [taken_minor]
        assert await books.balance(chart.network_fees(books.chain_id)) == 0
        await books.assert_books_equal_chain()


class TestRefusal:
    async def test_of_one_among_many_frees_the_coins_and_lets_the_others_go(
        self, books: CoinBooks
    ) -> None:
        for n in range(3):
            await books.freeze(books.node.fresh_address(), 100_000 + n)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        victim = (await books.payouts())[1]
        async with books.owner.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql(
                "UPDATE payout SET policy_version = NULL WHERE id = %s", (victim.id,)
            )
        outcome = await books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused) == (0, 1)
        await books.log.give_up_refused(batch_id)
        await books.top_up(UNIT // 10, UNIT // 10)
        assert not any(coin.locked_by for coin in await books.coins())
        standing = {p.id: p.status for p in await books.payouts()}
        assert standing.pop(victim.id) == PayoutStatus.BATCHED
        assert set(standing.values()) == {PayoutStatus.READY}

        second = await books.claim()
        await books.runner.prepare(second)
        await books.log.allocate(second)
        outcome = await books.signer.sign(second)
        assert (outcome.signed, outcome.refused) == (1, 0)
        assert len(await books.transactions()) == 2


class TestCoins:
    async def test_run_out_and_the_batch_waits(self, books: CoinBooks) -> None:
        await books.give("u1", UNIT // 4)
        await books.freeze(books.node.fresh_address(), UNIT // 10 * 9)
        first = await books.broadcast()
        await books.freeze(books.node.fresh_address(), UNIT // 5)
        second = await books.claim()
        await books.runner.prepare(second)
        assert await books.log.allocate(second)
        await books.freeze(books.node.fresh_address(), 20_000)
        third = await books.claim()
        with pytest.raises(InsufficientGasFundsError):
            await books.runner.prepare(third)
        assert not await books.log.allocate(third)
        await books.signer.sign(second)
        await books.runner.broadcast(second)
        await books.mine(2)
        for batch_id in (first, second):
            await books.log.settle(batch_id)
        await books.runner.prepare(third)
        assert await books.log.allocate(third)
        await books.assert_books_equal_chain()


class TestFreeze:
    async def test_between_claim_and_allocation_takes_only_that_customer_out(
        self, books: CoinBooks
    ) -> None:
        await books.give("u2", UNIT // 4)
        frozen = await books.freeze(books.node.fresh_address(), 100_000)
        destination = books.node.fresh_address()
        await books.freeze(destination, 200_000, user_id="u2")
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        async with books.owner.transaction() as session:
            session.add(UserFreeze(id="frz_1", user_id="u1"))
        assert await books.log.allocate(batch_id)
        assert (await books.signer.sign(batch_id)).signed == 1
        await books.runner.broadcast(batch_id)
        await books.mine(2)
        await books.log.settle(batch_id)

        by_id = {p.id: p.status for p in await books.payouts()}
        assert by_id.pop(frozen.payout_id) == PayoutStatus.READY
        assert set(by_id.values()) == {PayoutStatus.SETTLED}
        assert await books.node.balance(destination) == 200_000
        await books.assert_books_equal_chain()

    async def test_after_allocation_holds_all_back_and_then_that_customer_alone(
        self, books: CoinBooks
    ) -> None:
        await books.give("u2", UNIT // 4)
        frozen = await books.freeze(books.node.fresh_address(), 100_000)
        destination = books.node.fresh_address()
        await books.freeze(destination, 200_000, user_id="u2")
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        assert await books.log.allocate(batch_id)
        async with books.owner.transaction() as session:
            session.add(UserFreeze(id="frz_1", user_id="u1"))
        assert (await books.signer.sign(batch_id)).waiting == 1
        await books.runner.plan_bumps(batch_id)
        assert (await books.log.settle(batch_id)).is_done
        second = await books.broadcast()
        await books.mine(2)
        await books.log.settle(second)
        assert await books.node.balance(destination) == 200_000
        by_id = {p.id: p.status for p in await books.payouts()}
        assert by_id.pop(frozen.payout_id) == PayoutStatus.READY

        await books.execute("UPDATE user_freeze SET lifted_at = now()")
        third = await books.broadcast()
        await books.mine(2)
        await books.log.settle(third)
        assert {p.status for p in await books.payouts()} == {PayoutStatus.SETTLED}
        await books.assert_books_equal_chain()
