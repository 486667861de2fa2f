"""Addresses from extended public keys alone."""

import pytest
from embit.bip32 import HDError, HDKey

from domain.coins import KeyPosition
from domain.errors import WrongChainError
from domain.hd import EXTERNAL, INTERNAL, account_path, child_public_key, derive_address
from domain.utxo.networks import BITCOIN, BITCOIN_REGTEST, LITECOIN, LITECOIN_REGTEST
from domain.utxo.scripts import output_script
from tests.unit.signing.vectors import MNEMONIC_SEED, PUBLIC_ACCOUNT_84

FIRST = KeyPosition(EXTERNAL, 0)
ETHEREUM = "eip155:1"

# What wallets show for this well-known mnemonic at m/44'/60'/0'/0/0.
ETHEREUM_FIRST = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"


class TestAccountPath:
    @pytest.mark.parametrize(
        ("chain_id", "path"),
        [
            (BITCOIN.chain_id, "m/84h/0h/0h"),
            (LITECOIN.chain_id, "m/84h/2h/0h"),
            (BITCOIN_REGTEST.chain_id, "m/84h/1h/0h"),
            (LITECOIN_REGTEST.chain_id, "m/84h/1h/0h"),
            (ETHEREUM, "m/44h/60h/0h"),
            ("eip155:31337", "m/44h/60h/0h"),
        ],
    )
    def test_is_that_of_the_family_and_coin(self, chain_id: str, path: str) -> None:
        assert account_path(chain_id) == path

    def test_refuses_a_network_that_nobody_described(self) -> None:
        with pytest.raises(WrongChainError):
            account_path("bip122:ffffffffffffffffffffffffffffffff")


class TestDeriveAddress:
    @pytest.mark.parametrize(
        ("position", "address", "public"),
        [
            # BIP-84, "Test vectors"
            (
                FIRST,
                "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
                "0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c",
            ),
            (
                KeyPosition(EXTERNAL, 1),
                "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g",
                "03e775fd51f0dfb8cd865d9ff1cca2a158cf651fe997fdc9fee9c1d3b5e995ea77",
            ),
            (
                KeyPosition(INTERNAL, 0),
                "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el",
                "03025324888e429ab8e3dbaf1f7802648b9cd01e9b418485c5fa4c1b9b5700e1a6",
            ),
        ],
    )
    def test_gives_the_addresses_of_bip84(
        self, position: KeyPosition, address: str, public: str
    ) -> None:
        derived = derive_address(BITCOIN.chain_id, PUBLIC_ACCOUNT_84, position)
        assert derived.address == address
        assert derived.lookup_key == output_script(address, BITCOIN)
        assert child_public_key(PUBLIC_ACCOUNT_84, position).hex() == public

    def test_gives_the_same_script_under_each_networks_prefix(self) -> None:
        one = derive_address(BITCOIN.chain_id, PUBLIC_ACCOUNT_84, FIRST)
        other = derive_address(LITECOIN.chain_id, PUBLIC_ACCOUNT_84, FIRST)
        assert other.lookup_key == one.lookup_key
        assert other.address.startswith("ltc1q")

    def test_gives_the_ethereum_address_that_wallets_show(self) -> None:
        account = HDKey.from_seed(MNEMONIC_SEED).derive("m/44h/60h/0h").to_public()
        derived = derive_address(ETHEREUM, account.to_string(), FIRST)
        assert derived.address == ETHEREUM_FIRST
        assert derived.lookup_key.hex() == ETHEREUM_FIRST.removeprefix("0x").lower()

    def test_gives_another_address_for_every_place(self) -> None:
        places = [KeyPosition(branch, index) for branch in (0, 1) for index in range(20)]
        found = {derive_address(BITCOIN.chain_id, PUBLIC_ACCOUNT_84, each) for each in places}
        assert len(found) == len(places)

    def test_refuses_a_hardened_place(self) -> None:
        with pytest.raises(HDError):
            derive_address(BITCOIN.chain_id, PUBLIC_ACCOUNT_84, KeyPosition(0, 1 << 31))
