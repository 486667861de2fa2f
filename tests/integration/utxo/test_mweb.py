"""A Litecoin node with active extension blocks (LIP-0002); other tests' nodes have none."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from devnet.litecoin_node import MWEB_NEVER, litecoin_node
from devnet.ports import Ports
from domain.scanning import Incoming
from tests.support.coin_contract import CoinWorld
from tests.support.utxo_nodes import COIN_SAT, NodeKind, RegtestNode

ACTIVE_FROM = 432
NO_WALLET = "-disablewallet=1"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[CoinWorld]:
    """Yield a node with a wallet of its own, one block before extension blocks begin."""
    port = Ports.free().bitcoin
    plain = await asyncio.to_thread(litecoin_node, tmp_path / "data", port, password="p")
    options = tuple(each for each in plain.program if each not in (MWEB_NEVER, NO_WALLET))
    node = RegtestNode(
        replace(plain, program=(*options, "-fallbackfee=0.0002")),
        NodeKind.LITECOIND,
        folder=tmp_path,
    )
    await node.start()
    opened = CoinWorld(node)
    await node.rpc("createwallet", "miner")
    await node.mine(ACTIVE_FROM - 1, await node.rpc("getnewaddress"))
    yield opened
    await opened.outlet.close()
    await node.close()


async def movements(world: CoinWorld, first: int, last: int) -> list[Incoming]:
    blocks = await world.outlet.scan(first, last)
    assert [block.height for block in blocks] == list(range(first, last + 1))
    return [each for block in blocks for each in block.incoming]


class TestExtensionBlocks:
    async def test_hide_nothing_that_concerns_us(self, world: CoinWorld) -> None:
        hidden = await world.node.rpc("getnewaddress", "", "mweb")
        ours = world.derived(0)
        peg_in = await world.node.rpc("sendtoaddress", hidden, 5)
        payment = await world.node.rpc("sendtoaddress", ours.address, 2)
        raw = await world.node.rpc("getrawtransaction", peg_in)
        assert raw[8:12] == "0009", "the peg-in carries no extension data"

        # Both are in the pool, where the peg-in still has its extension data.
        pool = await world.outlet.pending(frozenset())
        assert pool.txids == {peg_in, payment}
        assert peg_in in {each.txid for each in pool.incoming}
        assert [
            (each.txid, each.amount_minor)
            for each in pool.incoming
            if each.lookup_key == ours.lookup_key
        ] == [(payment, 2 * COIN_SAT)]

        await world.mine(3)
        found = await movements(world, ACTIVE_FROM - 2, ACTIVE_FROM + 2)
        assert [each.txid for each in found if each.lookup_key == ours.lookup_key] == [payment]
        (block,) = await world.outlet.scan(ACTIVE_FROM, ACTIVE_FROM)
        told = await world.node.rpc("getblock", block.hash)
        assert list(block.txids) == told["tx"]
        assert len(block.txids) == 4, "coinbase, two of ours, and HogEx"

    async def test_pay_out_to_us_through_the_block_itself(self, world: CoinWorld) -> None:
        await world.node.rpc("unloadwallet", "miner")
        await world.node.rpc("createwallet", "hidden")
        hidden = await world.node.rpc("getnewaddress", "", "mweb")
        await world.node.rpc("unloadwallet", "hidden")
        await world.node.rpc("loadwallet", "miner")
        await world.node.rpc("sendtoaddress", hidden, 10)
        await world.mine(2)
        # A wallet that has nothing outside the extension.
        await world.node.rpc("unloadwallet", "miner")
        await world.node.rpc("loadwallet", "hidden")
        ours = world.derived(0)
        await world.node.rpc("sendtoaddress", ours.address, 3)
        view = await world.outlet.pending(frozenset())
        assert len(view.txids) == 1
        assert view.incoming == (), "inside the pool it pays nobody that anyone can see"

        await world.mine()
        tip = (await world.outlet.head()).height
        (block,) = await world.outlet.scan(tip, tip)
        (paid,) = [each for each in block.incoming if each.lookup_key == ours.lookup_key]
        assert paid.amount_minor == 3 * COIN_SAT
        assert paid.txid == block.txids[-1], "HogEx is the last transaction"
        assert not paid.is_coinbase
        assert await world.outlet.balance_minor(ours.address) == 3 * COIN_SAT
