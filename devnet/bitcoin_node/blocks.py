"""Blocks as values, and the making of new ones on regtest, where work takes about two hashes."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from bitcoin.core import CBlock
from bitcoin.core.script import CScript

from devnet.bitcoin_node.transactions import Tx, tx_of

BITS = 0x207FFFFF
"""Regtest's proof-of-work limit in compact form; it never changes there."""

VERSION = 0x2000_0000
SUBSIDY_SAT = 50 * 10**8
HALVING_BLOCKS = 150
WEIGHT_MAX = 3_996_000
"""Core's ``-blockmaxweight``: the limit of 4 million less room for the coinbase."""

_TARGET = 0x7FFFFF << (8 * (0x20 - 3))
_COMMITMENT_HEAD = bytes.fromhex("6a24aa21a9ed")  # BIP141
_WITNESS_NONCE = bytes(32)
_HEADER_BYTES = 80


@dataclass(frozen=True)
class Block:
    """One block; hashes as people write them."""

    raw: bytes = field(repr=False)
    hash: str
    prev_hash: str
    merkle_root: str
    version: int
    time_s: int
    bits: int
    nonce: int
    txs: tuple[Tx, ...] = field(repr=False)

    @property
    def header(self) -> bytes:
        """The 80 bytes that are hashed."""
        return self.raw[:_HEADER_BYTES]


def parse_block(raw: bytes) -> Block:
    """Return the block with these bytes; raises python-bitcoinlib's errors when they are none."""
    parsed = CBlock.deserialize(raw)
    return Block(
        raw=raw,
        hash=double_sha256(raw[:_HEADER_BYTES])[::-1].hex(),
        prev_hash=parsed.hashPrevBlock[::-1].hex(),
        merkle_root=parsed.hashMerkleRoot[::-1].hex(),
        version=parsed.nVersion,
        time_s=parsed.nTime,
        bits=parsed.nBits,
        nonce=parsed.nNonce,
        txs=tuple(tx_of(item) for item in parsed.vtx),
    )


def mine_block(
    *, prev_hash: str, height: int, time_s: int, script: bytes, txs: Sequence[Tx], fees_sat: int
) -> bytes:
    """Return a block with enough work that pays subsidy and fees to a script."""
    coinbase_id, coinbase = _coinbase(
        height=height, script=script, value_sat=subsidy_sat(height) + fees_sat, txs=txs
    )
    root = merkle_root([coinbase_id, *(bytes.fromhex(tx.txid)[::-1] for tx in txs)])
    head = (
        _int(VERSION, 4) + bytes.fromhex(prev_hash)[::-1] + root + _int(time_s, 4) + _int(BITS, 4)
    )
    nonce = 0
    while int.from_bytes(double_sha256(head + _int(nonce, 4)), "little") > _TARGET:
        nonce += 1
    body = [compact_size(len(txs) + 1), coinbase, *(tx.raw for tx in txs)]
    return head + _int(nonce, 4) + b"".join(body)


def subsidy_sat(height: int) -> int:
    """Return the new coins of a block at this height."""
    return SUBSIDY_SAT >> (height // HALVING_BLOCKS)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over hashes in wire order."""
    level = list(leaves)
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [double_sha256(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def double_sha256(data: bytes) -> bytes:
    """Return Bitcoin's hash."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def compact_size(number: int) -> bytes:
    """Return a count in Bitcoin's variable length."""
    if number < 0xFD:  # noqa: PLR2004
        return _int(number, 1)
    return b"\xfd" + _int(number, 2) if number <= 0xFFFF else b"\xfe" + _int(number, 4)  # noqa: PLR2004


def _coinbase(
    *, height: int, script: bytes, value_sat: int, txs: Sequence[Tx]
) -> tuple[bytes, bytes]:
    """Return the coinbase's txid in wire order and its bytes."""
    wtxids = [bytes(32), *(bytes.fromhex(tx.wtxid)[::-1] for tx in txs)]
    commitment = _COMMITMENT_HEAD + double_sha256(merkle_root(wtxids) + _WITNESS_NONCE)
    # The height is consensus (BIP34). Without the random bytes a block that was invalidated
    # could be made again, and be refused.
    script_sig = bytes(CScript([height])) + b"\x08" + os.urandom(8)
    inputs = b"\x01" + bytes(32) + b"\xff" * 4 + _prefixed(script_sig) + b"\xff" * 4
    outputs = b"\x02" + _int(value_sat, 8) + _prefixed(script) + _int(0, 8) + _prefixed(commitment)
    version, lock_time = _int(2, 4), _int(0, 4)
    txid = double_sha256(version + inputs + outputs + lock_time)
    witness = b"\x01" + _prefixed(_WITNESS_NONCE)
    return txid, version + b"\x00\x01" + inputs + outputs + witness + lock_time


def _prefixed(data: bytes) -> bytes:
    return compact_size(len(data)) + data


def _int(number: int, length: int) -> bytes:
    return number.to_bytes(length, "little")
