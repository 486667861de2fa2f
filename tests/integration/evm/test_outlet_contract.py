"""The EVM outlet keeps the contract of chain outlets on a real node."""

import pytest

from tests.support.chain_contract import ChainOutletContract
from tests.support.evm import EvmWorld


class TestEvmOutlet(ChainOutletContract):
    @pytest.fixture
    def world(self, evm_world: EvmWorld) -> EvmWorld:
        return evm_world
