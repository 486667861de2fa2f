"""Value that contracts sent, on a node without call traces: found by comparing balances."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_utils.address import to_canonical_address
from sqlmodel import select

from deposits.desk import PostgresDepositDesk
from domain.deposits import DepositStatus
from domain.errors import ChainUnavailableError
from domain.scanning import Incoming
from models.deposits import ChainAddress, ChainDeposit
from tests.support.books import CHAIN, Books
from watcher.balances import BalanceReconciler

ADDRESS = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"


@dataclass
class TracelessNode:
    """Tells balances of a scripted chain, and no call traces."""

    chain_id: str = CHAIN
    has_traces: bool | None = False
    held: dict[int, int] = field(default_factory=dict)
    """What the address holds from each height on."""
    is_forgetful: bool = False

    async def balances_minor(self, addresses: Sequence[str], height: int) -> list[int]:
        if self.is_forgetful:
            raise ChainUnavailableError("missing trie node")
        assert list(addresses) == [ADDRESS]
        return [max((m for h, m in self.held.items() if h <= height), default=0)]


@pytest.fixture
async def node(books: Books) -> TracelessNode:
    async with books.owner.transaction() as session:
        session.add(
            ChainAddress(
                id="adr_1",
                chain_id=CHAIN,
                address=ADDRESS,
                lookup_key=to_canonical_address(ADDRESS),
                branch=0,
                index=0,
                user_id="u1",
            )
        )
    return TracelessNode()


async def look(books: Books, node: Any) -> None:
    await books.watch.watch_once()
    await BalanceReconciler(books.worker, node, books.clock).run()
    desk = PostgresDepositDesk(books.worker, books.clock)
    for deposit in await deposits(books):
        await desk.advance(deposit.id)


async def deposits(books: Books) -> list[ChainDeposit]:
    async with books.owner.transaction() as session:
        return list(await session.exec(select(ChainDeposit)))


class TestBalance:
    async def test_beyond_what_is_known_is_a_deposit_once(
        self, books: Books, node: TracelessNode
    ) -> None:
        node.held[2] = 700
        books.chain.mine(2)
        await look(books, node)
        assert await deposits(books) == []
        books.chain.mine(2)
        for _ in range(3):
            await look(books, node)
        (deposit,) = await deposits(books)
        assert (deposit.status, deposit.amount_minor) == (DepositStatus.CREDITED, 700)
        assert await books.money() == (700, 0)
        await books.assert_sound()

    async def test_that_blocks_explain_is_none(self, books: Books, node: TracelessNode) -> None:
        key = to_canonical_address(ADDRESS)
        books.chain.arrivals[1] = [Incoming("0x1", "native", key, 500)]
        node.held |= {1: 500, 3: 800}
        books.chain.mine(6)
        await look(books, node)
        assert sorted(d.amount_minor for d in await deposits(books)) == [300, 500]
        assert await books.money() == (800, 0)

    async def test_of_a_block_that_left_the_chain_is_taken_back(
        self, books: Books, node: TracelessNode
    ) -> None:
        node.held[2] = 700
        books.chain.mine(4)
        await look(books, node)
        assert await books.money() == (700, 0)
        node.held.clear()
        books.chain.rollback(4)
        books.chain.mine(5)
        await look(books, node)
        assert await books.money() == (0, 0)
        await books.assert_sound()

    async def test_that_the_node_forgot_stops_nothing(
        self, books: Books, node: TracelessNode
    ) -> None:
        node.is_forgetful = True
        books.chain.mine(4)
        await look(books, node)
        assert await deposits(books) == []
