"""Keys below a seed."""

import pytest
from coincurve import PrivateKey
from embit.bip32 import HDKey

from domain.coins import KeyPosition
from domain.hd import child_public_key, derive_address
from domain.utxo.networks import BITCOIN, BITCOIN_REGTEST, LITECOIN
from signing.evm import identity_of
from signing.hd import account_xpub, fingerprint, private_key
from tests.unit.signing.vectors import MNEMONIC_SEED, PUBLIC_ACCOUNT_84

ETHEREUM = "eip155:1"
PLACES = [KeyPosition(0, 0), KeyPosition(0, 2_147_483_647), KeyPosition(1, 7)]
CHAINS = [BITCOIN.chain_id, BITCOIN_REGTEST.chain_id, LITECOIN.chain_id, ETHEREUM]

BIP32 = [
    # BIP-32, test vector 1
    (
        "000102030405060708090a0b0c0d0e0f",
        "m/0h/1/2h/2/1000000000",
        (
            "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGas"
            "TvXEYBVPamhGW6cFJodrTHy"
        ),
    ),
    # BIP-32, test vector 2
    (
        (
            "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a29f9c999693908d8a8784817e"
            "7b7875726f6c696663605d5a5754514e4b484542"
        ),
        "m/0/2147483647h/1/2147483646h/2",
        (
            "xpub6FnCn6nSzZAw5Tw7cgR9bi15UV96gLZhjDstkXXxvCLsUXBGXPdSnLFbdpq8p9HmGsApME5hQTZ3emM2rnY5"
            "agb9rXpVGyy3bdW6EEgAtqt"
        ),
    ),
    # BIP-32, test vector 3: leading zeros of a private key are kept
    (
        (
            "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4acba45d239319ac14f863b8d5a"
            "b5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be"
        ),
        "m/0h",
        (
            "xpub68NZiKmJWnxxS6aaHmn81bvJeTESw724CRDs6HbuccFQN9Ku14VQrADWgqbhhTHBaohPX4CjNLf9fq9MYo6o"
            "DaPPLPxSb7gwQN3ih19Zm4Y"
        ),
    ),
]


class TestLibrary:
    """What we stand on derives as BIP-32 says, also where a key begins with zeros."""

    @pytest.mark.parametrize(("seed", "path", "public"), BIP32)
    def test_derives_the_vectors(self, seed: str, path: str, public: str) -> None:
        key = HDKey.from_seed(bytes.fromhex(seed)).derive(path)
        assert key.to_public().to_string() == public


class TestAccountXpub:
    def test_is_that_of_bip84(self) -> None:
        assert account_xpub(MNEMONIC_SEED, BITCOIN.chain_id) == PUBLIC_ACCOUNT_84

    def test_shows_a_test_network(self) -> None:
        assert account_xpub(MNEMONIC_SEED, BITCOIN_REGTEST.chain_id).startswith("tpub")

    @pytest.mark.parametrize("chain_id", CHAINS)
    def test_holds_no_private_key(self, chain_id: str) -> None:
        assert not HDKey.from_string(account_xpub(MNEMONIC_SEED, chain_id)).is_private


class TestPrivateKey:
    # BIP-84, "Test vectors", from their wallet import format.
    @pytest.mark.parametrize(
        ("position", "exported"),
        [
            (KeyPosition(0, 0), "KyZpNDKnfs94vbrwhJneDi77V6jF64PWPF8x5cdJb8ifgg2DUc9d"),
            (KeyPosition(0, 1), "Kxpf5b8p3qX56DKEe5NqWbNUP9MnqoRFzZwHRtsFqhzuvUJsYZCy"),
            (KeyPosition(1, 0), "KxuoxufJL5csa1Wieb2kp29VNdn92Us8CoaUG3aGtPtcF3AzeXvF"),
        ],
    )
    def test_is_that_of_bip84(self, position: KeyPosition, exported: str) -> None:
        from embit.ec import PrivateKey as Exported  # noqa: PLC0415 - two libraries, one name

        secret = bytes(Exported.from_wif(exported).serialize())
        assert private_key(MNEMONIC_SEED, BITCOIN.chain_id, position) == secret

    @pytest.mark.parametrize("chain_id", CHAINS)
    @pytest.mark.parametrize("position", PLACES)
    def test_belongs_to_the_public_key_that_others_derive(
        self, chain_id: str, position: KeyPosition
    ) -> None:
        secret = private_key(MNEMONIC_SEED, chain_id, position)
        xpub = account_xpub(MNEMONIC_SEED, chain_id)
        assert PrivateKey(secret).public_key.format() == child_public_key(xpub, position)

    def test_of_an_evm_account_has_the_address_that_others_derive(self) -> None:
        secret = private_key(MNEMONIC_SEED, ETHEREUM, KeyPosition(0, 3))
        derived = derive_address(ETHEREUM, account_xpub(MNEMONIC_SEED, ETHEREUM), KeyPosition(0, 3))
        assert identity_of(secret).address == derived.address


class TestFingerprint:
    def test_is_what_a_device_shows_for_the_seed(self) -> None:
        # What wallets show for BIP-84's mnemonic.
        assert fingerprint(MNEMONIC_SEED) == "73c5da0a"
