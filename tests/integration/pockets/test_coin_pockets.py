"""Pockets on UTXO chains: they pay with their own coins, and keep the change."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from domain.payouts import PayoutStatus
from domain.pockets import ALL, Route
from ledger import chart
from models.chain_transactions import ChainTransactionKind as Kind
from models.deposits import ChainAddress
from models.payouts import Payout
from pockets.coin_spending import CoinPocketSpender
from pockets.desk import PostgresPocketDesk
from pockets.wallets import find_pocket
from tests.support.coin_books import COIN, CoinBooks, opened_coin_books
from tests.support.pockets import transfer_request
from tests.support.utxo_nodes import RegtestNode

DEPTH = 6
FEE_MINOR = 1_000


@dataclass
class World:
    """Books of one chain, with a user who owns coins off-chain."""

    books: CoinBooks

    def __post_init__(self) -> None:
        self.desk = PostgresPocketDesk(self.books.worker, self.books.clock)
        self.spender = CoinPocketSpender(self.books.worker, self.books.outlet, self.books.clock)

    async def ask(self, route: Route, amount: int | str, destination: str | None = None) -> str:
        accepted = await self.desk.freeze(
            transfer_request(
                route,
                amount,
                chain_id=self.books.chain_id,
                asset=COIN,
                destination=destination,
            )
        )
        assert accepted.status == PayoutStatus.READY, accepted
        await self.desk.make_ready(accepted.payout_id)
        return accepted.payout_id

    async def settle(self) -> None:
        await self.books.mine(DEPTH)
        for batch_id in {row.batch_id for row in await self.books.transactions()}:
            await self.books.log.settle(batch_id)

    async def fund(self, *amounts_minor: int) -> None:
        for amount_minor in amounts_minor:
            await self.ask(Route.FUND, amount_minor)
        await self.books.broadcast()
        await self.settle()

    async def drive(self, transfer_id: str) -> None:
        self.books.wait(1)
        standing = await self.spender.advance(transfer_id)
        assert standing.status == PayoutStatus.BATCHED
        (batch_id,) = standing.batches
        await self.books.runner.prepare(batch_id)
        assert await self.books.log.allocate(batch_id)
        outcome = await self.books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused) == (1, 0)
        await self.books.runner.broadcast(batch_id)

    async def spent(
        self, route: Route, amount: int | str, destination: str | None = None
    ) -> Payout:
        transfer_id = await self.ask(route, amount, destination)
        await self.drive(transfer_id)
        await self.settle()
        async with self.books.owner.transaction() as session:
            return await session.get_one(Payout, transfer_id)

    async def pocket(self) -> ChainAddress:
        async with self.books.owner.transaction() as session:
            found = await find_pocket(session, "u1", self.books.chain_id)
        assert found is not None
        return found

    async def onchain(self) -> tuple[int, int]:
        free_minor = await self.books.balance(chart.onchain("u1", self.books.chain_id))
        held = chart.onchain_held("u1", self.books.chain_id)
        return free_minor, await self.books.balance(held)


@pytest.fixture
async def world(database_url: str, utxo_node: RegtestNode) -> AsyncIterator[World]:
    async with opened_coin_books(database_url, utxo_node) as books:
        await books.top_up(50_000_000, 50_000_000)
        await books.mine(DEPTH)
        await books.give("u1", 40_000_000)
        yield World(books)


async def test_a_pocket_is_funded_spent_and_redeemed(world: World) -> None:
    books = world.books
    await world.fund(10_000_000, 5_000_000)
    assert await world.onchain() == (15_000_000, 0)
    assert await books.all_deposits() == []
    await books.assert_books_equal_chain()

    stranger = books.node.fresh_address()
    sent = await world.spent(Route.SEND, 3_000_000, stranger)
    assert sent.status == PayoutStatus.SETTLED
    left_minor = 12_000_000 - (sent.network_fee_minor or 0)
    assert await world.onchain() == (left_minor, 0)
    assert await books.node.balance(stranger) == 3_000_000
    assert await books.all_deposits() == [], "change is no deposit"
    await books.assert_books_equal_chain()

    before = await books.available()
    back = await world.spent(Route.REDEEM, ALL)
    assert await books.available() == before + back.amount_minor
    assert back.amount_minor == left_minor - (back.gas_max_minor or 0)
    assert await books.balance(chart.inflight(books.chain_id)) == 0
    await books.assert_books_equal_chain()


async def test_what_strangers_pay_is_the_pockets_and_is_spent_once_booked(world: World) -> None:
    books = world.books
    await world.fund(1_000_000)
    pocket = await world.pocket()
    await books.node.fund(pocket.address, 7_000_000)
    await books.mine(DEPTH)
    assert await world.onchain() == (8_000_000, 0)
    sent = await world.spent(Route.SEND, 6_000_000, books.node.fresh_address())
    assert sent.status == PayoutStatus.SETTLED
    rows = [row for row in await books.transactions() if row.kind == Kind.POCKET_SPEND]
    assert [row.change_address for row in rows] == [pocket.address]
    await books.assert_books_equal_chain()


async def test_the_hot_wallet_never_pays_with_a_pockets_coins(world: World) -> None:
    books = world.books
    await world.fund(10_000_000)
    pocket = await world.pocket()
    await books.freeze(books.node.fresh_address(), 20_000_000)
    await books.broadcast()
    spent = [coin for coin in await books.coins() if coin.locked_by is not None]
    assert pocket.id not in {coin.address_id for coin in spent}
