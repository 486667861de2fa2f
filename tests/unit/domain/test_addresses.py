import pytest

from domain.addresses import parse_address, parse_evm_address
from domain.errors import InvalidAddressError
from domain.utxo.networks import BITCOIN

# Addresses from EIP-55's own examples.
CHECKSUMMED = (
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
)


class TestEvmAddress:
    @pytest.mark.parametrize("address", CHECKSUMMED)
    def test_is_taken_with_its_checksum_or_without_any(self, address: str) -> None:
        assert parse_evm_address(address) == address
        assert parse_evm_address(address.lower()) == address

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0x",
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0X5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beae",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaedd",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaeg",
            " 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
            "0x" + "0" * 40,
            "vitalik.eth",
        ],
    )
    def test_is_refused_when_it_does_not_check(self, text: str) -> None:
        with pytest.raises(InvalidAddressError):
            parse_evm_address(text)

    def test_is_refused_on_a_chain_of_another_family(self) -> None:
        with pytest.raises(InvalidAddressError):
            parse_address(CHECKSUMMED[0], family="utxo", chain_id=BITCOIN.chain_id)
