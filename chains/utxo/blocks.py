"""
Reading raw blocks and transactions (``getblock`` verbosity 0): what they pay and what they spend.

Scripts are not decoded and no address is written: output scripts are what we search for. Every
block is gone through to the last byte, but only what is ours is ever made an object of. Serialized
as BIP144 says; Litecoin's MWEB (LIP-0002, LIP-0003) adds a flag to some transactions and an
extension behind the last of a block, which are passed over.
"""

from collections.abc import Sequence
from hashlib import sha256
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is named like a module's own
from typing import NamedTuple

from domain.scanning import Incoming, Lazy, Outpoint, ScannedBlock

HEADER_BYTES = 80
_PARENT, _MERKLE_ROOT = slice(4, 36), slice(36, 68)
_WITNESS_FLAG, _MWEB_FLAG = 0x01, 0x08
_OP_RETURN = 0x6A
_NO_OUTPOINT = bytes(32) + b"\xff" * 4
"""What a coinbase spends."""
_OUTPOINT_BYTES = 36
_OUR_SCRIPT_BYTES = 22
"""Of P2WPKH, which all our addresses on these chains are (``domain.hd``)."""
_AMOUNT, _INDEX = Struct("<q"), Struct("<I")
_LARGE = 0xFD
_LARGE_BYTES = {0xFD: 2, 0xFE: 4, 0xFF: 8}


class UnreadableError(ValueError):
    """The bytes are not what they were said to be."""


class _Parts(NamedTuple):
    """A transaction taken apart, as far as that costs little."""

    digest: bytes
    """What the txid shows, reversed, in hex."""
    outpoints: list[bytes]
    """36 bytes each, as serialized."""
    outputs: bytes
    """As serialized, their count first."""


def read_block(raw: bytes, *, height: int) -> ScannedBlock:
    """
    Return what a block holds; the height is not part of its bytes.

    What it pays and spends is built when somebody looks. Its lookup keys are the scripts that are
    as long as those of our addresses.

    Raises:
        UnreadableError: It is cut short or garbled: its transactions do not make its Merkle root.
    """
    found: list[_Parts] = []
    keys: list[bytes] = []
    try:
        count, at = _count(raw, HEADER_BYTES)
        for _ in range(count):
            parts, at = _transaction(raw, at, keys)
            found.append(parts)
    except (IndexError, StructError) as error:
        msg = "A block is shorter than it says."
        raise UnreadableError(msg) from error
    if merkle_root([parts.digest for parts in found]) != raw[_MERKLE_ROOT]:
        msg = "A block's transactions are not those that its header stands for."
        raise UnreadableError(msg)
    outpoints = [each for parts in found for each in parts.outpoints if each != _NO_OUTPOINT]
    return ScannedBlock(
        height=height,
        hash=_double_sha256(raw[:HEADER_BYTES])[::-1].hex(),
        parent_hash=raw[_PARENT][::-1].hex(),
        txids=tuple([parts.digest[::-1].hex() for parts in found]),
        incoming=Lazy(keys, lambda: tuple(i for parts in found for i in _incoming(parts))),
        spent=Lazy(outpoints, lambda: tuple(s for parts in found for s in _spent(parts))),
    )


def read_transaction(raw: bytes) -> tuple[str, tuple[Incoming, ...]]:
    """
    Return the txid of a transaction and what it pays.

    Raises:
        UnreadableError: These bytes are no transaction.
    """
    try:
        parts, _ = _transaction(raw, 0, [], is_alone=True)
        return _txid(parts), tuple(_incoming(parts))
    except (IndexError, StructError) as error:
        msg = "These bytes are no transaction."
        raise UnreadableError(msg) from error


def merkle_root(digests: Sequence[bytes]) -> bytes:
    """Return the root over transactions' digests, as a header has it; empty for none."""
    level = digests
    while len(level) > 1:
        pairs = [*level, level[-1]] if len(level) % 2 else level
        level = [
            _double_sha256(left + right)
            for left, right in zip(pairs[::2], pairs[1::2], strict=True)
        ]
    return level[0] if level else b""


def _transaction(
    raw: bytes, start: int, keys: list[bytes], *, is_alone: bool = False
) -> tuple[_Parts, int]:
    """
    Read one transaction and say where it ends; its txid covers no flags and no witnesses.

    What it pays to scripts like ours is added to ``keys``.
    """
    flags = raw[start + 5] if raw[start + 4] == 0 else 0
    body = start + (6 if flags else 4)
    outpoints, at = _outpoints(raw, body)
    end = _after_outputs(raw, at, keys)
    outputs = raw[at:end]
    at = _after_witnesses(raw, end, len(outpoints)) if flags & _WITNESS_FLAG else end
    if flags & _MWEB_FLAG:
        at = _after_mweb(raw, at, is_alone=is_alone)
    version, lock_time = raw[start : start + 4], raw[at : at + 4]
    digest = _double_sha256(version + raw[body:end] + lock_time)
    return _Parts(digest, outpoints, outputs), at + 4


def _outpoints(raw: bytes, at: int) -> tuple[list[bytes], int]:
    count, at = _count(raw, at)
    found: list[bytes] = []
    for _ in range(count):
        found.append(raw[at : at + _OUTPOINT_BYTES])
        size = raw[at + _OUTPOINT_BYTES]
        at += _OUTPOINT_BYTES + 1
        if size >= _LARGE:
            size, at = _count(raw, at - 1)
        at += size + 4
    return found, at


def _after_outputs(raw: bytes, at: int, keys: list[bytes]) -> int:
    count, at = _count(raw, at)
    for _ in range(count):
        size = raw[at + 8]
        at += 9
        if size == _OUR_SCRIPT_BYTES:
            keys.append(raw[at : at + size])
        elif size >= _LARGE:
            size, at = _count(raw, at - 1)
        at += size
    return at


def _outputs(raw: bytes) -> list[tuple[int, bytes]]:
    """Return amount in satoshi and script of each output."""
    count, at = _count(raw, 0)
    found: list[tuple[int, bytes]] = []
    for _ in range(count):
        (amount_minor,) = _AMOUNT.unpack_from(raw, at)
        size, at = _count(raw, at + 8)
        found.append((amount_minor, raw[at : at + size]))
        at += size
    return found


def _after_witnesses(raw: bytes, at: int, inputs: int) -> int:
    for _ in range(inputs):
        count, at = _count(raw, at)
        for _ in range(count):
            size = raw[at]
            at += 1
            if size >= _LARGE:
                size, at = _count(raw, at - 1)
            at += size
    return at


def _after_mweb(raw: bytes, at: int, *, is_alone: bool) -> int:
    """
    Pass over the MWEB part of a transaction.

    In a block only HogEx has one, which is empty: the others' are in the extension. In the pool
    anybody's may have one, of a length that it does not say; then the lock time ends the bytes.
    """
    if raw[at] == 0:
        return at + 1
    if not is_alone:
        msg = "A transaction with MWEB data does not stand in a block."
        raise UnreadableError(msg)
    return len(raw) - 4


def _count(raw: bytes, at: int) -> tuple[int, int]:
    """Read a CompactSize number, and say where what follows begins."""
    first = raw[at]
    if first < _LARGE:
        return first, at + 1
    end = at + 1 + _LARGE_BYTES[first]
    return int.from_bytes(raw[at + 1 : end], "little"), end


def _is_coinbase(outpoints: Sequence[bytes]) -> bool:
    return len(outpoints) == 1 and outpoints[0] == _NO_OUTPOINT


def _txid(parts: _Parts) -> str:
    return parts.digest[::-1].hex()


def _incoming(parts: _Parts) -> list[Incoming]:
    """Return what it pays, but for nothing and for what nobody can ever spend."""
    txid, is_coinbase = _txid(parts), _is_coinbase(parts.outpoints)
    return [
        Incoming(txid, f"vout:{place}", script, amount_minor, None, is_coinbase)
        for place, (amount_minor, script) in enumerate(_outputs(parts.outputs))
        if amount_minor and not (script and script[0] == _OP_RETURN)
    ]


def _spent(parts: _Parts) -> list[tuple[Outpoint, str]]:
    txid = _txid(parts)
    return [
        (Outpoint(outpoint[31::-1].hex(), _INDEX.unpack_from(outpoint, 32)[0]), txid)
        for outpoint in parts.outpoints
        if outpoint != _NO_OUTPOINT
    ]


def _double_sha256(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()
