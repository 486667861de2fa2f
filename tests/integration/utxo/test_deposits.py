"""Deposits on every kind of UTXO node, and what reorgs make of them."""

import pytest

from domain.deposits import DepositReason, DepositStatus
from domain.errors import InsufficientAvailableBalanceError
from domain.payouts import PayoutStatus
from domain.utxo.scripts import output_script
from ledger import chart
from tests.support.coin_books import CoinBooks
from tests.support.utxo_nodes import FEE_SAT, Key


@pytest.fixture
def books(coin_books: CoinBooks) -> CoinBooks:
    return coin_books


async def statuses(books: CoinBooks) -> list[str]:
    return [deposit.status for deposit in await books.all_deposits()]


class TestDeposit:
    async def test_is_seen_confirmed_and_credited_once(self, books: CoinBooks) -> None:
        address = await books.address()
        await books.node.fund(address, 70_000)
        await books.look()
        assert await statuses(books) == [DepositStatus.SEEN]
        await books.mine(1)
        assert await statuses(books) == [DepositStatus.CONFIRMING]
        assert await books.available() == 0
        await books.mine(1)
        assert await statuses(books) == [DepositStatus.CREDITED]
        for _ in range(3):
            await books.mine(1)
        assert await books.available() == 70_000
        await books.assert_books_equal_chain()

    async def test_to_one_address_twice_in_one_transaction_is_two(self, books: CoinBooks) -> None:
        script = output_script(await books.address(), books.node.network)
        key = Key()
        coin = await books.node.fund_key(key, 500_000)
        await books.node.send(key.spend([coin], [(script, 100_000), (script, 200_000)]))
        await books.mine(2)
        assert sorted(d.amount_minor for d in await books.all_deposits()) == [100_000, 200_000]
        assert await books.available() == 300_000
        await books.assert_books_equal_chain()

    async def test_made_while_nobody_looked_is_found(self, books: CoinBooks) -> None:
        address = await books.address()
        for amount_minor in (50_000, 60_000):
            await books.node.fund(address, amount_minor)
            await books.node.mine(40)
        await books.look()
        assert await books.available() == 110_000

    async def test_below_the_minimum_is_recorded_and_nobodys(self, books: CoinBooks) -> None:
        await books.node.fund(await books.address(), 5_000)
        await books.mine(2)
        (deposit,) = await books.all_deposits()
        assert deposit.status == DepositStatus.IGNORED
        assert deposit.reason_code == DepositReason.BELOW_MINIMUM
        assert await books.available() == 0
        assert await books.balance(chart.UNCLAIMED) == 5_000
        await books.assert_books_equal_chain()

    async def test_of_a_miner_waits_until_it_is_mature(self, books: CoinBooks) -> None:
        await books.node.mine(1, await books.address())
        await books.mine(98)
        assert await statuses(books) == [DepositStatus.CONFIRMING]
        await books.mine(1)
        assert await statuses(books) == [DepositStatus.CREDITED]

    async def test_that_is_double_spent_before_a_block_is_forgotten(self, books: CoinBooks) -> None:
        script = output_script(await books.address(), books.node.network)
        key = Key()
        coin = await books.node.fund_key(key, 500_000)
        await books.node.send(key.spend([coin], [(script, 400_000)]))
        await books.look()
        assert await statuses(books) == [DepositStatus.SEEN]
        # A miner may take what the pool would not.
        away = key.move(coin, fee_sat=2 * FEE_SAT)
        await books.node.rpc("generateblock", books.node.fresh_address(), [away])
        await books.mine(3)
        assert await statuses(books) == [DepositStatus.FORGOTTEN]
        assert await books.available() == 0

    @pytest.mark.parametrize("utxo_node", ["development", "litecoind_replacing"], indirect=True)
    async def test_that_is_replaced_disappears_and_its_replacement_counts(
        self, books: CoinBooks
    ) -> None:
        script = output_script(await books.address(), books.node.network)
        key = Key()
        coin = await books.node.fund_key(key, 500_000)
        await books.node.send(key.spend([coin], [(script, 499_000)]))
        await books.look()
        await books.node.send(key.spend([coin], [(script, 480_000)]))
        await books.mine(2)
        assert sorted(await statuses(books)) == [DepositStatus.CREDITED, DepositStatus.FORGOTTEN]
        assert await books.available() == 480_000


class TestReorg:
    async def test_before_credit_forgets_what_is_gone(self, books: CoinBooks) -> None:
        txid = await books.node.fund(await books.address(), 70_000)
        await books.mine(1)
        await books.node.reorg(1, drop=[txid])
        await books.look()
        assert await statuses(books) == [DepositStatus.FORGOTTEN]
        await books.mine(3)
        assert await books.available() == 0
        await books.assert_books_equal_chain()

    async def test_before_credit_moves_it_to_another_block(self, books: CoinBooks) -> None:
        await books.node.fund(await books.address(), 70_000)
        await books.mine(1)
        (before,) = await books.all_deposits()
        await books.node.reorg(1)
        await books.look()
        (after,) = await books.all_deposits()
        assert after.block_hash not in (None, before.block_hash)
        await books.mine(1)
        assert await books.available() == 70_000
        await books.assert_books_equal_chain()

    async def test_after_credit_that_moves_it_changes_no_balance(self, books: CoinBooks) -> None:
        await books.node.fund(await books.address(), 70_000)
        await books.mine(2)
        await books.node.reorg(2)
        await books.look()
        assert await statuses(books) == [DepositStatus.CREDITED]
        assert await books.available() == 70_000
        assert await books.freezes() == []
        await books.assert_books_equal_chain()

    async def test_after_credit_takes_it_back_and_freezes(self, books: CoinBooks) -> None:
        txid = await books.node.fund(await books.address(), 70_000)
        await books.mine(2)
        await books.node.reorg(2, drop=[txid])
        await books.look()
        assert await statuses(books) == [DepositStatus.REVERSED]
        assert await books.available() == 0
        (freeze,) = await books.freezes()
        assert (freeze.user_id, freeze.lifted_at) == ("u1", None)
        await books.assert_books_equal_chain()

    async def test_after_it_was_spent_leaves_a_debt_that_only_credits_pay(
        self, books: CoinBooks
    ) -> None:
        txid = await books.node.fund(await books.address(), 70_000)
        await books.mine(2)
        acceptance = await books.freeze(books.node.fresh_address(), 40_000)
        assert acceptance.status == PayoutStatus.READY
        await books.node.reorg(2, drop=[txid])
        await books.look()
        assert await books.available() == -40_500
        assert (
            await books.log.claim(
                chain_id=books.chain_id, wallet_address=books.hot, claim_key="frozen"
            )
            is None
        )
        refused = await books.freeze(books.node.fresh_address(), 10_000)
        assert refused.reason_code == "wallet_frozen"
        with pytest.raises(InsufficientAvailableBalanceError):
            await books.give_back("u1", 1)
        await books.desk.cancel(acceptance.payout_id)
        assert await books.available() == 0
        await books.assert_books_equal_chain()

    async def test_that_brings_it_back_credits_again_and_thaws(self, books: CoinBooks) -> None:
        txid = await books.node.fund(await books.address(), 70_000)
        await books.mine(2)
        raw = await books.node.rpc("getrawtransaction", txid)
        await books.node.reorg(2, is_remining=False)
        await books.look()
        assert await statuses(books) == [DepositStatus.REVERSED]
        if txid not in await books.node.mempool():
            await books.node.send(raw)
        await books.mine(2)
        assert await statuses(books) == [DepositStatus.CREDITED]
        assert await books.available() == 70_000
        assert all(freeze.lifted_at for freeze in await books.freezes())
        await books.assert_books_equal_chain()

    async def test_of_many_blocks_is_followed(self, books: CoinBooks) -> None:
        txids = []
        for n in range(6):
            txids.append(await books.node.fund(await books.address(), 50_000 + n))
            await books.mine(1)
        await books.mine(2)
        await books.node.reorg(8, drop=txids[:1])
        await books.look()
        await books.mine(2)
        gone = sum(1 for s in await statuses(books) if s == DepositStatus.REVERSED)
        assert gone >= 1
        await books.assert_books_equal_chain()
