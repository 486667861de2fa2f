"""The UTXO outlet keeps the contract of chain outlets on every kind of node."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from tests.support.coin_contract import CoinOutletContract, CoinWorld
from tests.support.utxo_nodes import RegtestNode


class TestCoinOutlet(CoinOutletContract):
    @pytest.fixture
    async def world(self, utxo_node: RegtestNode) -> AsyncIterator[CoinWorld]:
        opened = CoinWorld(utxo_node)
        yield opened
        await opened.outlet.close()


class TestDevelopmentNode:
    """What only a node of ours can be told to say."""

    @pytest.fixture
    async def world(self, kernel_node: RegtestNode) -> AsyncIterator[CoinWorld]:
        opened = CoinWorld(kernel_node)
        yield opened
        await kernel_node.rpc("dev_setfeerate", None)
        await opened.outlet.close()

    async def test_estimate_is_what_is_offered(self, world: CoinWorld) -> None:
        await world.node.rpc("dev_setfeerate", "0.00012345")
        assert (await world.outlet.quote_fee()).max_fee_minor == 12_345

    async def test_without_data_offers_a_multiple_of_the_least(self, world: CoinWorld) -> None:
        info = await world.node.rpc("getmempoolinfo")
        least = int(Decimal(info["mempoolminfee"]) * 10**8)
        quote = await world.outlet.quote_fee()
        assert (quote.base_fee_minor, quote.max_fee_minor) == (least, 5 * least)
