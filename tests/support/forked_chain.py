"""A scripted chain whose forks hold different arrivals, and books over it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import override

from sqlmodel import col, select

from deposits.addresses import AddressRequest, issue
from deposits.desk import PostgresDepositDesk
from domain.scanning import Incoming
from ledger import chart
from models.chain_transactions import ChainBlock
from models.deposits import ChainAddress, ChainDeposit
from tests.support.bank import hd_account
from tests.support.books import CHAIN, Books
from tests.support.scripted_chain import ScriptedChain
from watcher.fates import AccountFates
from watcher.watch import PostgresChainWatch


@dataclass
class ForkedChain(ScriptedChain):
    """What a block holds leaves the chain with it."""

    def add(self, arrivals: Iterable[Incoming]) -> None:
        """Mine a block with these arrivals."""
        self.mine(1)
        self.arrivals[len(self.blocks) - 1] = list(arrivals)

    def take_back(self, blocks: int) -> list[Incoming]:
        """Remove the newest blocks; return what they held."""
        heights = range(len(self.blocks) - blocks, len(self.blocks))
        gone = [arrival for height in heights for arrival in self.arrivals.pop(height, [])]
        self.rollback(blocks)
        return gone

    @property
    def held(self) -> list[tuple[int, Incoming]]:
        """Everything that the chain holds now, with the height of its block."""
        return [
            (height, arrival)
            for height, arrivals in sorted(self.arrivals.items())
            for arrival in arrivals
        ]

    @override
    async def balance_minor(self, address: str, *, contract_address: str | None = None) -> int:
        raise AssertionError(f"nobody asks for the balance of {address}")


@dataclass
class ForkedBooks:
    """Books over a forked chain, and what a watcher and its workflows do with them."""

    books: Books
    chain: ForkedChain = field(default_factory=ForkedChain)

    def __post_init__(self) -> None:
        self.desk = PostgresDepositDesk(self.books.worker, self.books.clock)

    async def open(self) -> None:
        async with self.books.owner.transaction() as session:
            session.add(hd_account(CHAIN))

    def new_watch(self) -> PostgresChainWatch:
        fates = AccountFates(self.chain)
        return PostgresChainWatch(self.books.worker, self.chain, fates, self.books.clock)

    async def address(self, user_id: str, key: str) -> ChainAddress:
        request = AddressRequest(user_id, "ETH", None, user_id, key)
        async with self.books.owner.transaction() as session:
            return (await issue(session, request, clock=self.books.clock)).row

    async def deposits(self) -> list[ChainDeposit]:
        async with self.books.owner.transaction() as session:
            return list(await session.exec(select(ChainDeposit).order_by(col(ChainDeposit.id))))

    async def blocks(self) -> list[tuple[int, str]]:
        """Return what the cursor holds."""
        async with self.books.owner.transaction() as session:
            found = await session.exec(select(ChainBlock).order_by(col(ChainBlock.height)))
            return [(block.height, block.hash) for block in found]

    async def booked(self) -> int:
        """Return what the books say of the deposit addresses."""
        return -await self.books.balance(chart.omnibus_deposit(CHAIN))
