"""
Addresses from an account's extended *public* key (BIP32, BIP44, BIP84). No private key in sight.

EVM accounts are ``m/44'/60'/0'``, UTXO accounts ``m/84'/coin'/0'``, Jobcoin's ``m/44'/1'/0'``.
Below them branch 0 is handed out and branch 1 is our own change.
"""

from dataclasses import dataclass
from functools import lru_cache

from embit import hashes
from embit.bip32 import HDKey
from embit.ec import PublicKey
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from domain.coins import KeyPosition
from domain.jobcoin.addresses import account_of_key, is_jobcoin
from domain.jobcoin.addresses import address_of as jobcoin_address
from domain.utxo.networks import NAMESPACE, network_of
from domain.utxo.scripts import address_of

EXTERNAL, INTERNAL = 0, 1

EVM_ACCOUNT_PATH = "m/44h/60h/0h"
JOBCOIN_ACCOUNT_PATH = "m/44h/1h/0h"
"""SLIP-44 has no number for it; each chain has a seed of its own, so none can clash."""


@dataclass(frozen=True, slots=True)
class DerivedAddress:
    """An address and the key under which blocks are searched for it."""

    address: str
    """EIP-55, P2WPKH in bech32 (BIP84), or Jobcoin's bech32m."""
    lookup_key: bytes
    """See ``domain.scanning.Incoming.lookup_key``."""


def account_path(chain_id: str) -> str:
    """Return the path of a chain's account (BIP44; BIP84 for UTXO chains)."""
    if is_jobcoin(chain_id):
        return JOBCOIN_ACCOUNT_PATH
    if not chain_id.startswith(NAMESPACE):
        return EVM_ACCOUNT_PATH
    return f"m/84h/{network_of(chain_id).coin_type}h/0h"


def derive_address(chain_id: str, xpub: str, position: KeyPosition) -> DerivedAddress:
    """Return the address at a position below an account's extended public key."""
    public = child_public_key(xpub, position)
    if is_jobcoin(chain_id):
        account = account_of_key(public)
        return DerivedAddress(jobcoin_address(account, chain_id), account)
    if not chain_id.startswith(NAMESPACE):
        return _evm_address(public)
    script = b"\x00\x14" + hashes.hash160(public)
    return DerivedAddress(address_of(script, network_of(chain_id)), script)


def child_public_key(xpub: str, position: KeyPosition) -> bytes:
    """Return the compressed public key at a position (SEC 1, 33 bytes)."""
    return bytes(_account(xpub).derive([position.branch, position.index]).key.sec())


@lru_cache(maxsize=64)
def _account(xpub: str) -> HDKey:
    return HDKey.from_string(xpub)


def _evm_address(public: bytes) -> DerivedAddress:
    point = PublicKey.parse(public)
    point.compressed = False
    account = keccak(bytes(point.sec())[1:])[-20:]
    return DerivedAddress(str(to_checksum_address(account)), account)
