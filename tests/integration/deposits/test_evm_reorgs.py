"""What reorgs on a real EVM node make of deposits: lost, moved, changed, brought back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest
from sqlmodel import col, select

from domain.deposits import DepositStatus
from domain.errors import InsufficientAvailableBalanceError
from domain.payouts import PayoutStatus
from ledger import chart, rules
from models.chain_transactions import ChainAttempt, ChainTransactionStatus
from tests.support.chain_world import DESTINATION, TokenKind
from tests.support.evm import EvmWorld, running_node
from tests.support.evm_books import CONFIRMATIONS, ETHER, EvmBooks, Sent, opened_evm_books
from watcher.watch import LAG_PATIENCE

PAY_HALF = "pay_half(address,address)"
PAY_CHOSEN = "pay_chosen(address[],address,uint256)"


@pytest.fixture
def books(evm_books: EvmBooks) -> EvmBooks:
    return evm_books


class TestBeforeCredit:
    async def test_forgets_what_is_gone(self, books: EvmBooks) -> None:
        await books.pay(await books.address(), ETHER)
        await books.mine(2)
        await books.reorg(2)
        await books.look()
        assert await books.statuses() == [DepositStatus.FORGOTTEN]
        await books.mine(CONFIRMATIONS)
        assert await books.available() == 0
        await books.assert_books_equal_chain()

    async def test_follows_it_to_another_block(self, books: EvmBooks) -> None:
        sent = await books.pay(await books.address(), ETHER)
        await books.mine(2)
        (before,) = await books.all_deposits()
        await books.reorg(2, [[], [sent]])
        await books.look()
        (after,) = await books.all_deposits()
        assert after.block_height == (before.block_height or 0) + 1
        assert after.status == DepositStatus.CONFIRMING
        await books.mine(CONFIRMATIONS - 2)
        assert await books.available() == 0
        await books.mine()
        assert await books.available() == ETHER
        await books.assert_books_equal_chain()

    async def test_credits_what_was_forgotten_and_comes_back(self, books: EvmBooks) -> None:
        sent = await books.pay(await books.address(), ETHER)
        await books.mine(1)
        await books.reorg(1)
        await books.look()
        assert await books.statuses() == [DepositStatus.FORGOTTEN]
        await books.world.rpc("eth_sendRawTransaction", sent.raw)
        await books.mine(CONFIRMATIONS)
        assert await books.statuses() == [DepositStatus.CREDITED]
        assert await books.available() == ETHER
        await books.assert_books_equal_chain()

    async def test_counts_its_depth_anew_even_for_who_asks_midway(
        self, books: EvmBooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await books.mine(CONFIRMATIONS)
        await books.world.rpc("anvil_rollback", CONFIRMATIONS)
        await books.pay(await books.address(), ETHER)
        await books.world.mine()

        async def dies(_head: object) -> NoReturn:
            msg = "the watcher died before it noted where it stands"
            raise RuntimeError(msg)

        watch = books.new_watch()
        monkeypatch.setattr(watch, "_confirm", dies)
        with pytest.raises(RuntimeError):
            await books.look(watch)
        (deposit,) = await books.all_deposits()
        await books.deposits.advance(deposit.id)
        assert await books.available() == 0
        await books.mine(CONFIRMATIONS - 1)
        assert await books.available() == ETHER


class TestAfterCredit:
    async def test_takes_it_back_and_freezes(self, books: EvmBooks) -> None:
        await books.pay(await books.address(), ETHER)
        await books.mine(CONFIRMATIONS)
        assert await books.available() == ETHER
        await books.reorg(CONFIRMATIONS)
        await books.look()
        assert await books.statuses() == [DepositStatus.REVERSED]
        assert await books.available() == 0
        (freeze,) = await books.freezes()
        assert (freeze.user_id, freeze.lifted_at) == ("u1", None)
        await books.assert_books_equal_chain()

    async def test_that_was_spent_leaves_a_debt_that_only_credits_pay(
        self, books: EvmBooks
    ) -> None:
        address = await books.address()
        await books.pay(address, ETHER)
        await books.mine(CONFIRMATIONS)
        accepted = await books.freeze(DESTINATION, ETHER // 2)
        assert accepted.status == PayoutStatus.READY
        await books.reorg(CONFIRMATIONS)
        await books.look()
        debt_minor = -ETHER // 2 - 10
        assert await books.available() == debt_minor
        with pytest.raises(AssertionError):
            await books.pay_out()
        with pytest.raises(InsufficientAvailableBalanceError):
            await books.ledger.post(
                rules.transfer(
                    key="theft",
                    source=chart.available("u1"),
                    target=chart.CAPITAL,
                    asset="ETH",
                    amount_minor=1,
                    at=books.clock.now(),
                )
            )
        assert (await books.freeze(DESTINATION, 1)).reason_code == "wallet_frozen"
        await books.pay(address, ETHER // 4)
        await books.mine(CONFIRMATIONS)
        assert await books.available() == debt_minor + ETHER // 4
        await books.desk.cancel(accepted.payout_id)
        assert await books.available() == ETHER // 4
        await books.assert_books_equal_chain()

    async def test_of_what_was_nobodys_freezes_nobody(self, books: EvmBooks) -> None:
        await books.transfer("USD", await books.address(), 999)
        await books.mine(CONFIRMATIONS)
        await books.reorg(CONFIRMATIONS)
        await books.look()
        assert await books.balance(chart.UNCLAIMED, "USD") == 0
        assert await books.freezes() == []
        await books.assert_books_equal_chain()

    async def test_that_only_moves_it_changes_no_balance(self, books: EvmBooks) -> None:
        other = await books.raw_of_another("USD", "mint(address,uint256)", books.world.wallet, 1)
        sent = await books.transfer("USD", await books.address(), 70_000)
        await books.mine(CONFIRMATIONS)
        # In the new fork another log comes first: the place in the block is no identity.
        await books.reorg(CONFIRMATIONS, [[], [other, sent]])
        await books.look()
        receipt = await books.world.rpc("eth_getTransactionReceipt", sent.txid)
        assert receipt["logs"][0]["logIndex"] == "0x1"
        assert await books.statuses() == [DepositStatus.CREDITED]
        assert await books.available("USD") == 70_000
        assert await books.freezes() == []
        await books.mine(CONFIRMATIONS)
        assert await books.available("USD") == 70_000
        await books.assert_books_equal_chain()

    async def test_that_brings_it_back_credits_again_and_thaws(self, books: EvmBooks) -> None:
        sent = await books.transfer("USD", await books.address(), 70_000)
        await books.mine(CONFIRMATIONS)
        await books.reorg(CONFIRMATIONS)
        await books.look()
        assert await books.statuses() == [DepositStatus.REVERSED]
        await books.world.rpc("eth_sendRawTransaction", sent.raw)
        await books.mine(CONFIRMATIONS - 1)
        assert await books.available("USD") == 0
        await books.mine(1)
        assert await books.available("USD") == 70_000
        assert all(freeze.lifted_at for freeze in await books.freezes())
        await books.assert_books_equal_chain()

    async def test_and_back_and_forth_ends_where_the_chain_does(self, books: EvmBooks) -> None:
        sent = await books.transfer("USD", await books.address(), 70_000)
        await books.mine(CONFIRMATIONS)
        for kept in ([], [[sent]], [], [[sent]], []):
            await books.reorg(CONFIRMATIONS, kept)
            await books.look()
            assert await books.available("USD") == 70_000 * len(kept)
            await books.assert_books_equal_chain()


@pytest.fixture
async def deep_books(database_url: str, tmp_path: Path) -> AsyncIterator[EvmBooks]:
    """On a node that keeps more states: a block time below 3 s makes it, and is stopped again."""
    with running_node(tmp_path, block_time_s="2") as node:
        world = EvmWorld(node.url)
        await world.rpc("evm_setIntervalMining", 0)
        await world.open()
        async with opened_evm_books(database_url, world) as books:
            yield books
        await world.close()


class TestDeepReorg:
    async def test_of_forty_blocks_is_followed(self, deep_books: EvmBooks) -> None:
        books, sent = deep_books, []
        address = await books.address()
        for n in range(20):
            sent.append(await books.transfer("USD", address, 10_000 + n))
            await books.mine(2)
        assert await books.available("USD") == sum(10_000 + n for n in range(19))
        await books.reorg(40, [[each] for each in sent[:5]])
        await books.look()
        assert await books.available("USD") == sum(10_000 + n for n in range(5))
        await books.mine(CONFIRMATIONS)
        await books.assert_books_equal_chain()


class TestChange:
    """A contract decides by what came before it: the same transaction moves something else."""

    async def test_of_the_amount_makes_another_deposit(self, books: EvmBooks) -> None:
        splitter, address = await books.splitter(tokens_minor=50_000), await books.address()
        usd = books.contracts["USD"]
        more = await books.raw_of_another("USD", "mint(address,uint256)", splitter, 10_000)
        half = await books.call(splitter, PAY_HALF, usd, address)
        await books.mine(CONFIRMATIONS)
        assert await books.available("USD") == 25_000
        await books.reorg(CONFIRMATIONS, [[more, half]])
        await books.look()
        found = {d.amount_minor: d.status for d in await books.all_deposits()}
        assert found == {25_000: DepositStatus.REVERSED, 30_000: DepositStatus.CREDITED}
        assert await books.available("USD") == 30_000
        await books.assert_books_equal_chain()

    async def test_of_the_token_makes_another_deposit(self, books: EvmBooks) -> None:
        """Or a worthless token could take the place of money that was credited."""
        splitter, address = await books.splitter(tokens_minor=50_000), await books.address()
        books.contracts["JUNK"] = await books.world.token(TokenKind.PLAIN)
        await books.mined(books.transfer("JUNK", splitter, 50_000))
        tokens = [books.contracts["USD"], books.contracts.pop("JUNK")]
        choose = await books.raw_of_another(splitter, "choose(uint256)", 1)
        pay = await books.call(splitter, PAY_CHOSEN, tokens, address, 40_000)
        await books.mine(CONFIRMATIONS)
        assert await books.available("USD") == 40_000
        await books.reorg(CONFIRMATIONS, [[choose, pay]])
        await books.look()
        assert await books.available("USD") == 0
        assert sorted(await books.statuses()) == [DepositStatus.IGNORED, DepositStatus.REVERSED]
        await books.reorg(CONFIRMATIONS, [[pay]])
        await books.look()
        assert await books.available("USD") == 40_000
        await books.assert_books_equal_chain()


class TestLag:
    async def test_of_a_node_is_waited_for(self, books: EvmBooks) -> None:
        sent = await books.pay(await books.address(), ETHER)
        await books.mine(CONFIRMATIONS)
        await books.world.rpc("anvil_rollback", CONFIRMATIONS)
        for _ in range(3):
            books.wait(LAG_PATIENCE.total_seconds() / 4)
            await books.look()
            assert await books.available() == ETHER
        await books.world.rpc("eth_sendRawTransaction", sent.raw)
        await books.mine(CONFIRMATIONS + 1)
        assert await books.statuses() == [DepositStatus.CREDITED]
        assert await books.available() == ETHER
        assert await books.freezes() == []
        await books.assert_books_equal_chain()

    async def test_that_does_not_end_is_the_chain(self, books: EvmBooks) -> None:
        await books.pay(await books.address(), ETHER)
        await books.mine(CONFIRMATIONS)
        await books.world.rpc("anvil_rollback", CONFIRMATIONS)
        await books.look()
        books.wait(LAG_PATIENCE.total_seconds() + 1)
        await books.look()
        assert await books.statuses() == [DepositStatus.REVERSED]
        assert await books.available() == 0
        await books.assert_books_equal_chain()


class TestPayout:
    @pytest.fixture(autouse=True)
    async def _funds(self, books: EvmBooks) -> None:
        await books.pay(await books.address(), 2 * ETHER)
        await books.mine(CONFIRMATIONS)

    async def test_that_is_reorganized_away_is_mined_again_and_paid_once(
        self, books: EvmBooks
    ) -> None:
        paid_before = await books.outlet.balance_minor(DESTINATION)
        await books.freeze(DESTINATION, ETHER)
        await books.pay_out()
        await books.mine(CONFIRMATIONS)
        for _ in range(2):
            await books.reorg(CONFIRMATIONS)
            books.wait(11)
            await books.look()
            (row,) = await books.transactions()
            assert row.status == ChainTransactionStatus.BROADCAST
            await books.mine(CONFIRMATIONS)
            await books.assert_books_equal_chain()
        assert [p.status for p in await books.payouts()] == [PayoutStatus.SETTLED]
        assert await books.outlet.balance_minor(DESTINATION) == paid_before + ETHER
        assert await books.balance(chart.SUSPENSE) == 0

    async def test_whose_replacement_is_mined_in_the_other_fork_is_paid_once(
        self, books: EvmBooks
    ) -> None:
        paid_before = await books.outlet.balance_minor(DESTINATION)
        await books.freeze(DESTINATION, ETHER)
        batch_id = await books.pay_out()
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        await books.signer.sign(batch_id)
        first, second = await attempts(books)
        await books.mine(CONFIRMATIONS)
        (row,) = await books.transactions()
        assert row.txid == first.txid
        await books.reorg(CONFIRMATIONS, [[second]])
        await books.look()
        (row,) = await books.transactions()
        assert (row.txid, row.status) == (second.txid, ChainTransactionStatus.CONFIRMED)
        assert await books.outlet.balance_minor(DESTINATION) == paid_before + ETHER
        assert await books.balance(chart.SUSPENSE) == 0
        await books.assert_books_equal_chain()


class TestTwoWatchers:
    async def test_at_once_never_credit_twice(self, books: EvmBooks) -> None:
        address, watches = await books.address(), [books.new_watch() for _ in range(3)]
        for n in range(4):
            await books.transfer("USD", address, 10_000)
            await books.world.mine(2)
            if n % 2:
                await books.reorg(1)
            await asyncio.gather(*(books.look(w) for w in watches), return_exceptions=True)
        books.wait(11)
        await books.mine(CONFIRMATIONS)
        assert await books.available("USD") == 40_000
        await books.assert_books_equal_chain()

    async def test_on_two_forks_leave_no_gap(
        self, books: EvmBooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One has read blocks on top of what the other meanwhile takes back."""
        slow, quick = books.new_watch(), books.new_watch()
        read_run = slow._read_run
        await books.world.mine(2)

        async def overtaken(chain: object, blocks: object) -> bool:
            monkeypatch.undo()
            await books.reorg(4)
            await books.transfer("USD", address, 10_000)
            await books.look(quick)
            return await read_run(chain, blocks)  # type: ignore[arg-type]

        address = await books.address()
        monkeypatch.setattr(slow, "_read_run", overtaken)
        await asyncio.gather(books.look(slow), return_exceptions=True)
        await books.mine(CONFIRMATIONS)
        assert await books.available("USD") == 10_000
        await books.reorg(CONFIRMATIONS)
        await books.look()
        assert await books.available("USD") == 0
        await books.assert_books_equal_chain()


async def attempts(books: EvmBooks) -> list[Sent]:
    async with books.owner.transaction() as session:
        found = await session.exec(select(ChainAttempt).order_by(col(ChainAttempt.sequence)))
        return [Sent(str(a.txid), "0x" + (a.raw or b"").hex()) for a in found]
