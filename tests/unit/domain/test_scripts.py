import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidAddressError
from domain.utxo.networks import (
    BITCOIN,
    BITCOIN_REGTEST,
    BITCOIN_TESTNET3,
    LITECOIN,
    LITECOIN_REGTEST,
    NETWORKS,
    Network,
)
from domain.utxo.scripts import (
    ScriptKind,
    address_of,
    canonical_address,
    output_script,
    script_kind,
)

# BIP-173 and BIP-350, "Test vectors for v0-v16 native segregated witness addresses": those of
# kinds that exist.
VALID = [
    (
        BITCOIN,
        "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
        "0014751e76e8199196d454941c45d1b3a323f1433bd6",
    ),
    (
        BITCOIN_TESTNET3,
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
    ),
    (
        BITCOIN_TESTNET3,
        "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
        "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
    (
        BITCOIN_TESTNET3,
        "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
        "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
    (
        BITCOIN,
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
    # The address of the genesis block's coinbase key (Bitcoin Core, chainparams.cpp).
    (
        BITCOIN,
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac",
    ),
    # The same hash, taken for a script's (BIP-13).
    (
        BITCOIN,
        "3Ai1JZ8pdJb2ksieUV8FsxSNVJCpoPi8W6",
        "a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1887",
    ),
]

# Witness versions that nothing gives a meaning to, from the same lists: anyone could spend them.
WITHOUT_MEANING = [
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
    "BC1SW50QGDZ25J",
    "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
]

INVALID = [
    # BIP-173
    "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
    "BC13W508D6QEJXTDG4Y5R3ZARVARY0C5XW7KN40WF2",
    "bc1rw5uspcuh",
    "bc10w508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kw5rljs90",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sL5k7",
    "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du",
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3pjxtptv",
    "bc1gmk9yu",
    # Valid before BIP-350 made them bech32m
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7k7grplx",
    "BC1SW50QA3JX3S",
    "bc1zw508d6qejxtdg4y5r3zarvaryvg6kdaj",
    # BIP-350
    "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    "bc1pw5dgrnzv",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
    # Base58Check with a wrong checksum, a forbidden letter, of another length, of a private key
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfN0",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7Divf",
    "KyZpNDKnfs94vbrwhJneDi77V6jF64PWPF8x5cdJb8ifgg2DUc9d",
    "",
    "1",
    "bc1",
    " bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\n",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3é4",
]

HASHES = st.binary(min_size=20, max_size=20)
PROGRAMS = st.binary(min_size=32, max_size=32)
SCRIPTS = st.one_of(
    HASHES.map(lambda h: b"\x76\xa9\x14" + h + b"\x88\xac"),
    HASHES.map(lambda h: b"\xa9\x14" + h + b"\x87"),
    HASHES.map(lambda h: b"\x00\x14" + h),
    PROGRAMS.map(lambda p: b"\x00\x20" + p),
    PROGRAMS.map(lambda p: b"\x51\x20" + p),
)
ANY_NETWORK = st.sampled_from(list(NETWORKS.values()))


class TestOutputScript:
    @pytest.mark.parametrize(("network", "address", "script"), VALID)
    def test_reads_an_address(self, network: Network, address: str, script: str) -> None:
        assert output_script(address, network).hex() == script

    @pytest.mark.parametrize("network", [BITCOIN, BITCOIN_TESTNET3, LITECOIN])
    @pytest.mark.parametrize("address", INVALID)
    def test_refuses_what_is_no_address(self, address: str, network: Network) -> None:
        with pytest.raises(InvalidAddressError):
            output_script(address, network)

    @pytest.mark.parametrize("address", WITHOUT_MEANING)
    def test_refuses_witness_versions_without_a_meaning(self, address: str) -> None:
        with pytest.raises(InvalidAddressError):
            output_script(address, BITCOIN)

    @pytest.mark.parametrize(("network", "address", "_script"), VALID)
    def test_refuses_an_address_of_another_coin(
        self, network: Network, address: str, _script: str
    ) -> None:
        other = LITECOIN if network is BITCOIN else LITECOIN_REGTEST
        if address.startswith("3"):
            # Litecoin took over Bitcoin's P2SH prefix, and still accepts it.
            assert output_script(address, other) == output_script(address, network)
            return
        with pytest.raises(InvalidAddressError):
            output_script(address, other)

    def test_tells_test_networks_apart_by_their_bech32_prefix(self) -> None:
        address = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"
        with pytest.raises(InvalidAddressError):
            output_script(address, BITCOIN_REGTEST)

    @given(script=SCRIPTS, network=ANY_NETWORK)
    def test_is_the_inverse_of_address_of(self, script: bytes, network: Network) -> None:
        assert output_script(address_of(script, network), network) == script

    @given(
        script=SCRIPTS,
        network=ANY_NETWORK,
        place=st.integers(min_value=0),
        letter=st.sampled_from(string.printable),
    )
    def test_refuses_an_address_with_one_other_character(
        self, script: bytes, network: Network, place: int, letter: str
    ) -> None:
        address = address_of(script, network)
        place %= len(address)
        if address[place] == letter:
            return
        with pytest.raises(InvalidAddressError):
            output_script(address[:place] + letter + address[place + 1 :], network)

    @given(script=SCRIPTS, network=ANY_NETWORK, data=st.data())
    def test_refuses_a_segwit_address_with_up_to_four_other_characters(
        self, script: bytes, network: Network, data: st.DataObject
    ) -> None:
        # The checksum's promise (BIP-173, "Checksum design"; BIP-350): all of up to four errors.
        address = list(address_of(b"\x00\x14" + script[2:22], network))
        start = len(network.bech32_prefix) + 1
        places = data.draw(
            st.sets(st.integers(start, len(address) - 1), min_size=1, max_size=4), label="places"
        )
        for place in places:
            others = [c for c in "qpzry9x8gf2tvdw0s3jn54khce6mua7l" if c != address[place]]
            address[place] = data.draw(st.sampled_from(others))
        with pytest.raises(InvalidAddressError):
            output_script("".join(address), network)


class TestCanonicalAddress:
    def test_is_lower_case(self) -> None:
        canonical = canonical_address("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", BITCOIN)
        assert canonical == "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"

    def test_is_litecoins_own_spelling_of_an_address_that_looks_like_bitcoins(self) -> None:
        canonical = canonical_address("3Ai1JZ8pdJb2ksieUV8FsxSNVJCpoPi8W6", LITECOIN)
        assert canonical.startswith("M")
        assert canonical_address(canonical, LITECOIN) == canonical


class TestScriptKind:
    @pytest.mark.parametrize(
        ("script", "kind"),
        [
            ("76a914" + "11" * 20 + "88ac", ScriptKind.P2PKH),
            ("a914" + "11" * 20 + "87", ScriptKind.P2SH),
            ("0014" + "11" * 20, ScriptKind.P2WPKH),
            ("0020" + "11" * 32, ScriptKind.P2WSH),
            ("5120" + "11" * 32, ScriptKind.P2TR),
            ("", None),
            ("6a", None),
            ("0014" + "11" * 19, None),
            ("5114" + "11" * 20, None),
            ("5220" + "11" * 32, None),
            ("21" + "02" * 33 + "ac", None),
        ],
    )
    def test_tells_what_a_script_is(self, script: str, kind: ScriptKind | None) -> None:
        assert script_kind(bytes.fromhex(script)) is kind

    def test_of_none_has_no_address(self) -> None:
        with pytest.raises(InvalidAddressError):
            address_of(bytes.fromhex("6a0401020304"), BITCOIN)
