import pytest

from chains.evm.outlet import EvmOutlet
from chains.jobcoin.outlet import JobcoinOutlet
from chains.registry import open_outlet
from chains.utxo.outlet import CoinOutlet
from domain.errors import ValidationError
from domain.families import FAMILIES, family_of
from domain.utxo.networks import BITCOIN
from payouts.catalog import ChainEntry

CHAINS = {"evm": "eip155:1", "utxo": BITCOIN.chain_id, "jobcoin": "jobcoin:local"}
OUTLETS = {"evm": EvmOutlet, "utxo": CoinOutlet, "jobcoin": JobcoinOutlet}


class TestFamily:
    @pytest.mark.parametrize("name", sorted(FAMILIES))
    def test_is_told_by_the_id_and_has_an_outlet(self, name: str) -> None:
        assert family_of(CHAINS[name]) == FAMILIES[name]
        outlet = open_outlet(CHAINS[name], name, ["http://127.0.0.1:1"])
        assert isinstance(outlet, OUTLETS[name])

    @pytest.mark.parametrize("name", sorted(FAMILIES))
    @pytest.mark.parametrize("other", sorted(FAMILIES))
    def test_takes_no_chain_of_another_into_the_catalog(self, name: str, other: str) -> None:
        entry = {
            "id": CHAINS[other],
            "family": name,
            "name": "x",
            "native_asset": "X",
            "max_fee_ceiling_minor": 1,
        }
        if name == other:
            assert ChainEntry.model_validate(entry).family == name
        else:
            with pytest.raises(ValueError, match=r"is not|not a"):
                ChainEntry.model_validate(entry)

    def test_that_nobody_speaks_to_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            open_outlet("solana:main", "solana", ["http://127.0.0.1:1"])
