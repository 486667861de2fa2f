"""Addresses of Bitcoin-like networks and the output scripts they stand for."""

from enum import StrEnum

from embit import base58, bech32

from domain.errors import InvalidAddressError
from domain.utxo.networks import Network

_HASH_BYTES = 20
_P2PKH_HEAD, _P2PKH_TAIL = bytes.fromhex("76a914"), bytes.fromhex("88ac")
_P2SH_HEAD, _P2SH_TAIL = bytes.fromhex("a914"), bytes.fromhex("87")
_OP_1 = 0x51


class ScriptKind(StrEnum):
    """The output scripts that we pay to."""

    P2PKH = "p2pkh"
    P2SH = "p2sh"
    P2WPKH = "p2wpkh"
    P2WSH = "p2wsh"
    P2TR = "p2tr"


_WITNESS_KINDS = {(0, 20): ScriptKind.P2WPKH, (0, 32): ScriptKind.P2WSH, (1, 32): ScriptKind.P2TR}
"""Witness version and program length in bytes (BIP141, BIP341)."""


def output_script(address: str, network: Network) -> bytes:
    """
    Return the output script of an address (P2PKH, P2SH, P2WPKH, P2WSH, P2TR).

    Base58Check, bech32 (BIP173) and bech32m (BIP350), with checksum and network verified.

    Raises:
        InvalidAddressError: It does not check, or belongs to another network.
    """
    if address.lower().startswith(network.bech32_prefix + "1"):
        return _witness_script(address, network)
    return _base58_script(address, network)


def canonical_address(address: str, network: Network) -> str:
    """Return the one spelling of an address; raises as ``output_script``."""
    return address_of(output_script(address, network), network)


def address_of(script: bytes, network: Network) -> str:
    """
    Return the address of an output script.

    Raises:
        InvalidAddressError: It is none of the kinds in ``ScriptKind``.
    """
    kind = script_kind(script)
    if kind is ScriptKind.P2PKH:
        return str(base58.encode_check(bytes([network.p2pkh_prefix]) + script[3:23]))
    if kind is ScriptKind.P2SH:
        return str(base58.encode_check(bytes([network.p2sh_prefix]) + script[2:22]))
    if kind is None:
        msg = "This output script has no address."
        raise InvalidAddressError(msg)
    version = 0 if script[0] == 0 else script[0] - _OP_1 + 1
    return str(bech32.encode(network.bech32_prefix, version, script[2:]))


def script_kind(script: bytes) -> ScriptKind | None:
    """Return what kind of output script this is, or None for any other."""
    if len(script) == 25 and script[:3] == _P2PKH_HEAD and script[-2:] == _P2PKH_TAIL:  # noqa: PLR2004
        return ScriptKind.P2PKH
    if len(script) == 23 and script[:2] == _P2SH_HEAD and script[-1:] == _P2SH_TAIL:  # noqa: PLR2004
        return ScriptKind.P2SH
    if len(script) < 4 or script[1] != len(script) - 2:  # noqa: PLR2004
        return None
    version = {0: 0, _OP_1: 1}.get(script[0], -1)
    return _WITNESS_KINDS.get((version, script[1]))


def _witness_script(address: str, network: Network) -> bytes:
    version, program = bech32.decode(network.bech32_prefix, address)
    if version is None or (version, len(program)) not in _WITNESS_KINDS:
        msg = "The address has a wrong checksum (BIP173, BIP350) or an unknown kind; copy it again."
        raise InvalidAddressError(msg)
    opcode = 0 if version == 0 else _OP_1 + version - 1
    return bytes([opcode, len(program), *program])


def _base58_script(address: str, network: Network) -> bytes:
    try:
        payload = bytes(base58.decode_check(address))
    except (ValueError, AssertionError, IndexError):
        msg = f"This is not an address of {network.name}, or its checksum is wrong."
        raise InvalidAddressError(msg) from None
    if len(payload) != 1 + _HASH_BYTES:
        msg = f"This is not an address of {network.name}."
        raise InvalidAddressError(msg)
    prefix, digest = payload[0], payload[1:]
    if prefix == network.p2pkh_prefix:
        return _P2PKH_HEAD + digest + _P2PKH_TAIL
    if prefix in (network.p2sh_prefix, network.p2sh_legacy_prefix):
        return _P2SH_HEAD + digest + _P2SH_TAIL
    msg = f"The address belongs to another network than {network.name}."
    raise InvalidAddressError(msg)
