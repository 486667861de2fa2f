"""
Keys below a seed (BIP32). Only the signer imports this: every private key is made from a seed here.

The path of a chain's account is ``domain.hd.account_path``; only its extended public key is told to
anybody else.
"""

from functools import lru_cache

from embit.base import EmbitError
from embit.bip32 import HDKey

from domain.coins import KeyPosition
from domain.errors import ValidationError
from domain.hd import account_path
from domain.utxo.networks import BITCOIN, NAMESPACE, network_of

ACCOUNT_DEPTH = 3
"""Of ``m/purpose'/coin'/account'`` (BIP44)."""

SEED_BYTES = 32
"""256 bits, within the 128 to 512 that BIP32 asks for."""


def account_xpub(seed: bytes, chain_id: str) -> str:
    """Return the extended public key of a chain's account, as BIP32 spells it."""
    is_utxo = chain_id.startswith(NAMESPACE)
    version = (network_of(chain_id) if is_utxo else BITCOIN).xpub_version
    return str(_account(seed, chain_id).to_public().to_string(version=version))


def check_xpub(chain_id: str, xpub: str) -> None:
    """
    Pass for an extended public key of an account on this network.

    Raises:
        ValidationError: It does not check, is private, of another network, or not an account's.
    """
    msg = "This is not the extended public key of an account (BIP32, depth 3) of this network."
    try:
        key = HDKey.from_string(xpub)
    except (EmbitError, ValueError, AssertionError, IndexError, RuntimeError):
        raise ValidationError(msg) from None
    expected = network_of(chain_id).xpub_version
    if key.is_private or key.depth != ACCOUNT_DEPTH or key.version != expected:
        raise ValidationError(msg)


def fingerprint(seed: bytes) -> str:
    """Return the fingerprint of the master key, 4 bytes in hex."""
    return bytes(HDKey.from_seed(seed).my_fingerprint).hex()


def private_key(seed: bytes, chain_id: str, position: KeyPosition) -> bytes:
    """Return the private key at a position below a chain's account, 32 bytes."""
    key = _account(seed, chain_id).derive([position.branch, position.index])
    return bytes(key.key.serialize())


@lru_cache(maxsize=16)
def _account(seed: bytes, chain_id: str) -> HDKey:
    return HDKey.from_seed(seed).derive(account_path(chain_id))
