"""
Jobcoin addresses: the hash of a public key in bech32m (BIP350), with the network in its prefix.

A network's id is CAIP-2, ``jobcoin:main`` or any other name. All but the main one share a prefix
that says that their coins are worth nothing.
"""

from embit import hashes
from embit.bech32 import Encoding, bech32_decode, bech32_encode, convertbits

from domain.errors import InvalidAddressError, WrongChainError

NAMESPACE = "jobcoin:"
MAIN = NAMESPACE + "main"

ACCOUNT_BYTES = 20
_BITS_OF_BYTE, _BITS_OF_CHARACTER = 8, 5


def is_jobcoin(chain_id: str) -> bool:
    """Tell whether a CAIP-2 id is that of a Jobcoin network."""
    return chain_id.startswith(NAMESPACE)


def prefix_of(chain_id: str) -> str:
    """
    Return what a network's addresses begin with.

    Raises:
        WrongChainError: Not the id of a Jobcoin network.
    """
    if not is_jobcoin(chain_id):
        msg = f"{chain_id!r} is not the id of a Jobcoin network."
        raise WrongChainError(msg)
    return "job" if chain_id == MAIN else "tjob"


def account_of_key(public_key: bytes) -> bytes:
    """Return the account of a compressed public key (SEC 1): RIPEMD-160 of SHA-256, 20 bytes."""
    return bytes(hashes.hash160(public_key))


def address_of(account: bytes, chain_id: str) -> str:
    """Return an account's address on a network."""
    characters = convertbits(account, _BITS_OF_BYTE, _BITS_OF_CHARACTER)
    return str(bech32_encode(Encoding.BECH32M, prefix_of(chain_id), characters))


def account_of(address: str, chain_id: str) -> bytes:
    """
    Return the 20 bytes that an address stands for.

    Raises:
        InvalidAddressError: It does not check, or belongs to another network.
    """
    encoding, prefix, characters = bech32_decode(address)
    if encoding != Encoding.BECH32M:
        msg = "The address has a wrong checksum (BIP350); copy it again."
        raise InvalidAddressError(msg)
    if prefix != prefix_of(chain_id):
        msg = f"The address begins with {prefix!r}; this network's begin with another prefix."
        raise InvalidAddressError(msg)
    account = convertbits(characters, _BITS_OF_CHARACTER, _BITS_OF_BYTE, pad=False)
    if account is None or len(account) != ACCOUNT_BYTES:
        msg = f"A Jobcoin address stands for {ACCOUNT_BYTES} bytes."
        raise InvalidAddressError(msg)
    return bytes(account)


def parse_jobcoin_address(text: str, chain_id: str) -> str:
    """Return the address as it is always written, in lower case; raises as ``account_of``."""
    return address_of(account_of(text, chain_id), chain_id)
