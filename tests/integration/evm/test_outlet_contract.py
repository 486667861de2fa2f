"""The EVM outlet keeps the contract of chain outlets on a real node."""

from collections.abc import Sequence
from typing import override

import pytest

from chains.evm.outlet import EvmOutlet
from tests.support.chain_contract import ChainOutletContract
from tests.support.evm import CHAIN_ID, EvmWorld
from tests.support.outlet_contract import NodeContract


class TestEvmOutlet(ChainOutletContract[EvmWorld], NodeContract[EvmWorld]):
    other_chain_id = "eip155:1"

    @pytest.fixture
    def world(self, evm_world: EvmWorld) -> EvmWorld:
        return evm_world

    @override
    def url(self, world: EvmWorld) -> str:
        return world.url

    @override
    def open(
        self, world: EvmWorld, urls: Sequence[str], *, chain_id: str | None = None
    ) -> EvmOutlet:
        return EvmOutlet(chain_id or CHAIN_ID, urls)
