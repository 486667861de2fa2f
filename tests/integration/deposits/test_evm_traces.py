"""Nodes without call traces, or without those of a block: what is missed, and what is not."""

from collections.abc import Callable, Sequence
from typing import Any, override

import pytest

from chains.evm.errors import NodeError
from chains.evm.scan import BlockReader
from chains.json_rpc import Call, Rpc
from deposits.rescans import RescanRange, request_rescan
from domain.deposits import DepositStatus
from domain.errors import ChainUnavailableError
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import CONFIRMATIONS, ETHER, EvmBooks
from watcher.balances import BalanceReconciler
from watcher.fates import AccountFates
from watcher.watch import PostgresChainWatch

TRACE = "debug_traceBlockByNumber"
PAY = "pay(address[],uint256[])"

UNKNOWN = [
    NodeError(-32601, f"the method {TRACE} does not exist/is not available"),
    NodeError(-32000, "Method not found"),
    NodeError(-32600, f"The method '{TRACE}' is not supported on this plan"),
]
STATE_GONE = [
    NodeError(-32000, "missing trie node 9b0c (path ) state 0x9b0c is not available"),
    NodeError(-32000, "required historical state unavailable (reexec=128)"),
]
BUSY = [NodeError(-32005, "rate limit exceeded"), NodeError(-32000, "block not found")]


class Refusing(Rpc):
    """A connection on which traces are not what the node says."""

    def __init__(self, rpc: Rpc) -> None:
        super().__init__(rpc._nodes)
        self.answer: Callable[[Any], Any] | None = None
        """What becomes of the true answer."""
        self.asked = 0

    @override
    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        answers = await super().batch(calls)
        for i, (method, _) in enumerate(calls):
            if method == TRACE:
                self.asked += 1
                answers[i] = self.answer(answers[i]) if self.answer else answers[i]
        return answers


@pytest.fixture
def books(evm_books: EvmBooks) -> EvmBooks:
    return evm_books


@pytest.fixture
def node(books: EvmBooks) -> Refusing:
    refusing = Refusing(books.outlet._rpc)
    books.outlet._blocks = BlockReader(refusing)
    return refusing


async def pay_both_ways(books: EvmBooks, splitter: str) -> None:
    """Pay the customer directly and through a contract."""
    await books.pay(await books.address(), ETHER)
    await books.call(splitter, PAY, [await books.address()], [ETHER // 2], coins=ETHER // 2)


class TestNodeWithoutTraces:
    @pytest.mark.parametrize("refusal", UNKNOWN, ids=lambda e: e.text[:12])
    async def test_misses_what_contracts_send_and_says_so(
        self, books: EvmBooks, node: Refusing, refusal: NodeError
    ) -> None:
        splitter = await books.splitter()
        node.answer = lambda _: refusal
        await pay_both_ways(books, splitter)
        await books.mine(CONFIRMATIONS)
        assert books.outlet._blocks.has_traces is False
        assert await books.available() == ETHER
        held = (await books.on_chain())[1] - (await books.omnibus())[1]
        assert held == ETHER // 2

    async def test_that_gets_them_is_believed_again(self, books: EvmBooks, node: Refusing) -> None:
        """Behind one address there may be several nodes."""
        splitter = await books.splitter()
        node.answer = lambda _: UNKNOWN[0]
        await books.call(splitter, "x()", coins=1)
        await books.mine()
        node.answer = None
        await pay_both_ways(books, splitter)
        await books.mine(CONFIRMATIONS)
        assert books.outlet._blocks.has_traces is True
        assert await books.available() == ETHER * 3 // 2

    async def test_is_asked_of_one_block_only(self, books: EvmBooks, node: Refusing) -> None:
        splitter = await books.splitter()
        node.answer = lambda _: UNKNOWN[0]
        await books.look()
        for _ in range(4):
            await books.mined(books.call(splitter, "x()", coins=1))
        node.asked = 0
        await books.look()
        assert node.asked == 1


class TestBlockWithoutTraces:
    @pytest.mark.parametrize("refusal", STATE_GONE, ids=lambda e: e.text[:12])
    async def test_is_read_without_them_and_the_next_one_with(
        self, books: EvmBooks, node: Refusing, refusal: NodeError
    ) -> None:
        splitter = await books.splitter()
        await books.look()
        node.answer = lambda _: refusal
        await pay_both_ways(books, splitter)
        await books.mine()
        node.answer = None
        await pay_both_ways(books, splitter)
        await books.mine(CONFIRMATIONS)
        assert books.outlet._blocks.has_traces is True
        assert await books.available() == ETHER * 5 // 2

    async def test_of_one_transaction_does_not_stop_the_chain(
        self, books: EvmBooks, node: Refusing
    ) -> None:
        """A transaction can be made so heavy that tracing it takes longer than a node allows."""
        splitter = await books.splitter()
        await books.look()

        def heavy(traced: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [{"txHash": traced[0]["txHash"], "error": "execution timeout"}, *traced[1:]]

        await books.call(splitter, "x()", coins=1)
        await pay_both_ways(books, splitter)
        node.answer = heavy
        await books.mine()
        node.answer = None
        await books.mine(CONFIRMATIONS)
        assert await books.available() == ETHER * 3 // 2

    @pytest.mark.parametrize("refusal", BUSY, ids=lambda e: e.text[:12])
    async def test_because_the_node_cannot_now_is_waited_for(
        self, books: EvmBooks, node: Refusing, refusal: NodeError
    ) -> None:
        splitter = await books.splitter()
        await books.look()
        await pay_both_ways(books, splitter)
        node.answer = lambda _: refusal
        with pytest.raises(ChainUnavailableError):
            await books.mine()
        assert await books.statuses() == []
        node.answer = None
        await books.look()
        assert await books.statuses() == [DepositStatus.CONFIRMING] * 2
        await books.mine(CONFIRMATIONS)
        assert await books.available() == ETHER * 3 // 2
        await books.assert_books_equal_chain()


class TestBalances:
    """What cannot be seen is found by comparing balances, and counted once however it is found."""

    @pytest.fixture
    async def splitter(self, books: EvmBooks, node: Refusing) -> str:
        del node
        books.watch = PostgresChainWatch(
            books.worker,
            books.outlet,
            AccountFates(books.outlet),
            books.clock,
            balances=BalanceReconciler(books.worker, books.outlet, books.clock),
        )
        address = await books.splitter()
        await books.look()
        return address

    async def settle(self, books: EvmBooks) -> None:
        for _ in range(3):
            books.wait(11)
            await books.mine(CONFIRMATIONS)

    @pytest.mark.parametrize("refusal", [UNKNOWN[0], STATE_GONE[0]], ids=["method", "state"])
    async def test_find_what_traces_do_not_show(
        self, books: EvmBooks, node: Refusing, splitter: str, refusal: NodeError
    ) -> None:
        node.answer = lambda _: refusal
        await pay_both_ways(books, splitter)
        await books.mine()
        if refusal in STATE_GONE:
            node.answer = None
        await self.settle(books)
        assert await books.available() == ETHER * 3 // 2
        await books.assert_books_equal_chain()

    async def test_find_what_one_heavy_transaction_hides(
        self, books: EvmBooks, node: Refusing, splitter: str
    ) -> None:
        await pay_both_ways(books, splitter)
        node.answer = lambda traced: [{"error": "execution timeout"} for _ in traced]
        await books.mine()
        node.answer = None
        await self.settle(books)
        assert await books.available() == ETHER * 3 // 2
        await books.assert_books_equal_chain()

    async def test_and_a_rescan_with_traces_count_it_once(
        self, books: EvmBooks, node: Refusing, splitter: str
    ) -> None:
        node.answer = lambda _: UNKNOWN[0]
        await pay_both_ways(books, splitter)
        first = (await books.mine()).height
        await self.settle(books)
        node.answer = None
        await rescan(books, first)
        await self.settle(books)
        assert await books.available() == ETHER * 3 // 2
        await books.assert_books_equal_chain()

    async def test_and_a_rescan_of_a_lost_address_count_it_once(
        self, books: EvmBooks, node: Refusing, splitter: str
    ) -> None:
        address = await books.address(key="lost")
        await books.execute("UPDATE chain_address SET lookup_key = 'x'")
        node.answer = lambda _: UNKNOWN[0]
        await books.call(splitter, "x()", coins=1)
        await books.pay(address, ETHER)
        first = (await books.mine()).height
        await self.settle(books)
        assert await books.available() == ETHER
        await books.execute(
            "UPDATE chain_address SET lookup_key = decode(substr(address, 3), 'hex')"
        )
        await rescan(books, first)
        await self.settle(books)
        assert await books.available() == ETHER
        await books.assert_books_equal_chain()

    async def test_after_a_rescan_find_nothing_more(
        self, books: EvmBooks, node: Refusing, splitter: str
    ) -> None:
        node.answer = lambda _: UNKNOWN[0]
        await pay_both_ways(books, splitter)
        first = (await books.mine()).height
        node.answer = None
        await rescan(books, first)
        assert len(await books.all_deposits()) == 2
        node.answer = lambda _: UNKNOWN[0]
        await books.call(splitter, "x()", coins=1)
        await self.settle(books)
        assert await books.available() == ETHER * 3 // 2
        await books.assert_books_equal_chain()

    async def test_after_a_reorg_are_compared_anew(
        self, books: EvmBooks, node: Refusing, splitter: str
    ) -> None:
        node.answer = lambda _: UNKNOWN[0]
        await books.look()
        sent = await books.call(splitter, PAY, [await books.address()], [ETHER], coins=ETHER)
        await books.mine()
        books.wait(11)
        await books.mine(CONFIRMATIONS)
        books.wait(11)
        await books.look()
        await books.look()
        assert await books.available() == ETHER
        node.answer = None
        await books.reorg(CONFIRMATIONS + 1, [[], [sent]])
        await self.settle(books)
        assert await books.available() == ETHER
        await books.assert_books_equal_chain()

    async def test_are_right_after_sweeps(
        self, books: EvmBooks, node: Refusing, splitter: str
    ) -> None:
        """What we take away and what we give for gas is no deposit, nor is it missing."""
        address = await books.address()
        await books.pay(address, ETHER)
        await books.transfer("USD", await books.address(), 70_000)
        await books.mine(CONFIRMATIONS)
        node.answer = lambda _: UNKNOWN[0]
        for _ in range(3):
            await books.sweep(is_forced=True)
            await books.call(splitter, "x()", coins=1)
            await self.settle(books)
        assert await books.omnibus("USD") == (70_000, 0)
        assert await books.available() == ETHER
        assert len(await books.all_deposits()) == 2
        await books.call(splitter, PAY, [address], [ETHER // 2], coins=ETHER // 2)
        await self.settle(books)
        assert await books.available() == ETHER * 3 // 2
        await books.assert_books_equal_chain()


async def rescan(books: EvmBooks, height: int) -> None:
    """Have a block read again."""
    async with books.owner.transaction() as session:
        wanted = RescanRange(CHAIN_ID, height, height)
        await request_rescan(session, wanted, by="a1", clock=books.clock)
    await books.look()
