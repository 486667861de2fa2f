import pytest

from models.wallets import Asset, AssetKind, Chain
from runs.terms import network_fee_estimate_minor

ETH = Asset(code="ETH", chain_id="eip155:1", kind=AssetKind.NATIVE, decimals=18, name="Ether")
USD = Asset(code="USD", chain_id="eip155:1", kind=AssetKind.ERC20, decimals=6, name="Dollar")


def chain(family: str = "evm", outputs_max: int = 1, disperse: str | None = None) -> Chain:
    return Chain(
        id="eip155:1",
        family=family,
        name="C",
        native_asset="ETH",
        max_fee_ceiling_minor=1,
        outputs_max=outputs_max,
        disperse_address=disperse,
    )


class TestNetworkFeeEstimate:
    def test_is_unknown_while_nothing_was_seen_of_the_chain(self) -> None:
        assert network_fee_estimate_minor(ETH, chain(), None, 5) is None

    @pytest.mark.parametrize(("asset", "gas"), [(ETH, 21_000), (USD, 65_000)])
    def test_counts_a_transfer_per_line(self, asset: Asset, gas: int) -> None:
        assert network_fee_estimate_minor(asset, chain(), 3, 5) == 5 * gas * 3

    def test_is_less_for_tokens_through_a_contract(self) -> None:
        alone = network_fee_estimate_minor(USD, chain(), 3, 100)
        together = network_fee_estimate_minor(USD, chain("evm", 50, "0x1"), 3, 100)

        assert alone is not None
        assert together is not None
        assert together < alone

    def test_counts_bytes_and_rounds_up(self) -> None:
        # Two transactions of 110 vbytes and three outputs of 34 at 1.001 satoshi each.
        assert network_fee_estimate_minor(ETH, chain("utxo", 2), 1_001, 3) == 323
