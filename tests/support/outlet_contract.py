"""
The contract of ``domain.ports.ChainOutlet`` that every chain family keeps, and its fakes.

A family's own contract extends it: ``chain_contract`` for accounts, ``coin_contract`` for coins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest

from domain.errors import ChainUnavailableError, WrongChainError
from domain.ports import BroadcastOutcome, ChainOutlet


class OutletWorld(Protocol):
    """One chain in the hands of a test, which others may be using too."""

    @property
    def outlet(self) -> ChainOutlet:
        """The chain as the product sees it."""
        ...

    async def mine(self, count: int = 1) -> object:
        """Append blocks; the first takes what the pool holds."""
        ...

    async def reorg(self, depth: int) -> object:
        """Replace the last blocks by at least as many others."""
        ...


@dataclass(frozen=True, slots=True)
class Payment:
    """A signed payment of the native coin that no node has seen yet."""

    raw: bytes
    txid: str
    lookup_key: bytes
    """Under which its destination is found in blocks."""
    amount_minor: int


class OutletContract[World: OutletWorld]:
    """Subclass it, and give a fixture ``world`` and what makes payments there."""

    least_fee_minor = 1
    """What a chain asks for at least; zero where nothing is paid to send."""

    async def payment(self, world: World, amount_minor: int) -> Payment:
        """Sign a payment at the present fee."""
        raise NotImplementedError

    async def test_tells_the_tip_and_its_blocks(self, world: World) -> None:
        await world.mine(3)
        head = await world.outlet.head()
        tip = await world.outlet.block(head.height)
        parent = await world.outlet.block(head.height - 1)

        assert tip is not None
        assert parent is not None
        assert (tip.height, tip.hash) == (head.height, head.hash)
        assert (parent.height, parent.hash) == (head.height - 1, tip.parent_hash)
        assert await world.outlet.block(head.height + 1) is None
        assert head.base_fee_minor >= self.least_fee_minor

    async def test_quotes_no_less_than_the_least_fee(self, world: World) -> None:
        quote = await world.outlet.quote_fee()

        assert quote.base_fee_minor >= self.least_fee_minor
        assert quote.max_fee_minor >= quote.base_fee_minor + quote.priority_fee_minor

    async def test_scans_a_range_linked_and_without_a_gap(self, world: World) -> None:
        await world.mine(11)
        tip = (await world.outlet.head()).height
        blocks = await world.outlet.scan(tip - 10, tip)

        assert [block.height for block in blocks] == list(range(tip - 10, tip + 1))
        assert [block.parent_hash for block in blocks[1:]] == [b.hash for b in blocks[:-1]]
        for scanned in blocks[::5]:
            block = await world.outlet.block(scanned.height)
            assert block is not None
            assert (block.hash, block.parent_hash) == (scanned.hash, scanned.parent_hash)
            assert block.txids == scanned.txids

    async def test_scans_the_first_block(self, world: World) -> None:
        (block,) = await world.outlet.scan(0, 0)
        assert (block.height, int(block.parent_hash, 16)) == (0, 0)

    async def test_stops_scanning_at_the_tip(self, world: World) -> None:
        await world.mine(2)
        tip = (await world.outlet.head()).height

        blocks = await world.outlet.scan(tip - 1, tip + 40)
        assert [block.height for block in blocks] == [tip - 1, tip]
        assert await world.outlet.scan(tip + 1, tip + 40) == []

    async def test_scans_what_a_payment_moves_in_the_block_that_has_it(self, world: World) -> None:
        paid = await self.payment(world, 123_456)
        before = (await world.outlet.head()).height
        assert await world.outlet.broadcast(paid.raw) is BroadcastOutcome.ACCEPTED
        await world.mine(2)
        blocks = await world.outlet.scan(before, before + 2)

        assert [paid.txid in block.txids for block in blocks] == [False, True, False]
        found = [
            movement
            for block in blocks
            for movement in block.incoming
            if movement.txid == paid.txid and movement.lookup_key == paid.lookup_key
        ]
        assert [movement.amount_minor for movement in found] == [paid.amount_minor]
        assert found[0].contract_address is None
        assert not found[0].is_coinbase

    async def test_names_each_movement_once(self, world: World) -> None:
        for _ in range(2):
            await world.outlet.broadcast((await self.payment(world, 50_000)).raw)
            await world.mine()
        tip = (await world.outlet.head()).height
        blocks = await world.outlet.scan(tip - 1, tip)

        names = [(each.txid, each.position) for block in blocks for each in block.incoming]
        assert len(names) >= 2
        assert len(set(names)) == len(names)

    async def test_scans_the_blocks_that_took_the_place_of_others(self, world: World) -> None:
        await world.mine(3)
        tip = (await world.outlet.head()).height
        before = await world.outlet.scan(tip - 2, tip)
        assert await world.outlet.block(tip) is not None
        await world.reorg(2)
        after = await world.outlet.scan(tip - 2, tip)

        assert [block.height for block in after] == [tip - 2, tip - 1, tip]
        assert after[0].hash == before[0].hash
        assert {block.hash for block in after[1:]}.isdisjoint(block.hash for block in before)
        assert after[1].parent_hash == before[0].hash
        replaced = await world.outlet.block(tip)
        assert replaced is not None
        assert replaced.hash == after[-1].hash

    async def test_knows_bytes_it_was_given_before(self, world: World) -> None:
        paid = await self.payment(world, 50_000)
        await world.outlet.broadcast(paid.raw)

        assert await world.outlet.broadcast(paid.raw) in (
            BroadcastOutcome.ACCEPTED,
            BroadcastOutcome.ALREADY_KNOWN,
        )
        await world.mine()
        assert await world.outlet.broadcast(paid.raw) is BroadcastOutcome.ALREADY_KNOWN
        await world.mine()
        tip = (await world.outlet.head()).height
        blocks = await world.outlet.scan(tip - 1, tip)
        assert [block.txids.count(paid.txid) for block in blocks] == [1, 0]

    async def test_shows_the_pool_or_nothing(self, world: World) -> None:
        paid = await self.payment(world, 50_000)
        await world.outlet.broadcast(paid.raw)
        view = await world.outlet.pending(frozenset())

        assert {each.txid for each in view.incoming} <= view.txids
        again = await world.outlet.pending(view.txids)
        assert paid.txid not in {each.txid for each in again.incoming}
        await world.mine()
        assert paid.txid not in (await world.outlet.pending(frozenset())).txids


class NodeContract[World: OutletWorld]:
    """What an outlet owes that speaks to nodes; give what opens one, and where a node is."""

    other_chain_id: str
    """A chain that the world's node does not serve."""

    def url(self, world: World) -> str:
        raise NotImplementedError

    def open(
        self, world: World, urls: Sequence[str], *, chain_id: str | None = None
    ) -> ChainOutlet:
        """Open an outlet of the world's chain, or one that expects another."""
        raise NotImplementedError

    async def test_says_when_its_node_is_dead(self, world: World, unused_tcp_port: int) -> None:
        outlet = self.open(world, [f"http://u:p@127.0.0.1:{unused_tcp_port}"])
        with pytest.raises(ChainUnavailableError):
            await outlet.head()
        with pytest.raises(ChainUnavailableError):
            await outlet.scan(0, 0)
        await outlet.close()

    async def test_refuses_a_node_of_another_chain(self, world: World) -> None:
        outlet = self.open(world, [self.url(world)], chain_id=self.other_chain_id)
        with pytest.raises(WrongChainError):
            await outlet.head()
        with pytest.raises(WrongChainError):
            await outlet.scan(0, 0)
        await outlet.close()

    async def test_speaks_to_the_next_node_when_the_first_is_dead(
        self, world: World, unused_tcp_port: int
    ) -> None:
        dead = f"http://u:p@127.0.0.1:{unused_tcp_port}"
        outlet = self.open(world, [dead, self.url(world)])
        assert await outlet.head() == await world.outlet.head()
        await outlet.close()
