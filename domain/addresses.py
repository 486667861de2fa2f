"""Destination addresses: what a caller may type, per chain family. No network here."""

from eth_utils.address import is_hex_address, to_checksum_address

from domain.errors import InvalidAddressError
from domain.jobcoin.addresses import parse_jobcoin_address
from domain.utxo.networks import network_of
from domain.utxo.scripts import canonical_address

ZERO_ADDRESS = "0x" + "0" * 40


def parse_evm_address(text: str) -> str:
    """
    Return the address with its checksum (EIP-55).

    All-lower-case input carries no checksum and is accepted; mixed case must check.

    Raises:
        InvalidAddressError: Not 20 hex bytes with ``0x``, a wrong checksum, or the zero address.
    """
    if not text.startswith("0x") or not is_hex_address(text):
        msg = "An EVM address is 0x followed by 40 hexadecimal digits."
        raise InvalidAddressError(msg)
    digits, canonical = text[2:], str(to_checksum_address(text))
    if digits != digits.lower() and text != canonical:
        msg = "The address has a wrong checksum (EIP-55); copy it again."
        raise InvalidAddressError(msg)
    if text == ZERO_ADDRESS:
        msg = "The zero address burns what it receives."
        raise InvalidAddressError(msg)
    return canonical


def parse_address(text: str, *, family: str, chain_id: str) -> str:
    """
    Return the canonical form of a destination on a chain.

    Raises:
        InvalidAddressError: It does not check, or belongs to another network.
    """
    if family == "evm":
        return parse_evm_address(text)
    if family == "jobcoin":
        return parse_jobcoin_address(text, chain_id)
    return canonical_address(text, network_of(chain_id))
