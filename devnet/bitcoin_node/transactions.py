"""Transactions as values: parsed once, with the sizes and ids that everything else asks for."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bitcoin.core import CTransaction
from bitcoin.core.serialize import SerializationError

from devnet.bitcoin_node.errors import Code, RpcError

WITNESS_SCALE = 4
SEQUENCE_FINAL = 0xFFFF_FFFF
SEQUENCE_REPLACEABLE_MAX = 0xFFFF_FFFD
"""An input with this sequence or a lower one makes its transaction replaceable (BIP125)."""

COINBASE_OUTPOINT = ("00" * 32, 0xFFFF_FFFF)

OutPoint = tuple[str, int]
"""A txid as people write it, and the output's index."""


@dataclass(frozen=True, slots=True)
class TxInput:
    """What is spent, and why it may be."""

    outpoint: OutPoint
    script_sig: bytes
    sequence: int
    witness: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TxOutput:
    """An amount and its condition."""

    value_sat: int
    script: bytes


@dataclass(frozen=True)
class Tx:
    """One transaction."""

    raw: bytes
    txid: str
    wtxid: str
    version: int
    lock_time: int
    stripped_bytes: int
    inputs: tuple[TxInput, ...]
    outputs: tuple[TxOutput, ...]

    @property
    def weight(self) -> int:
        """Weight units (BIP141)."""
        return self.stripped_bytes * (WITNESS_SCALE - 1) + len(self.raw)

    @property
    def vsize(self) -> int:
        """Virtual bytes, rounded up."""
        return -(-self.weight // WITNESS_SCALE)

    @property
    def is_coinbase(self) -> bool:
        """Whether it creates coins instead of spending some."""
        return self.inputs[0].outpoint == COINBASE_OUTPOINT

    @property
    def is_replaceable(self) -> bool:
        """Whether it says so itself (BIP125)."""
        return any(item.sequence <= SEQUENCE_REPLACEABLE_MAX for item in self.inputs)

    @cached_property
    def outpoints(self) -> tuple[OutPoint, ...]:
        """What it spends."""
        return tuple(item.outpoint for item in self.inputs)


def parse_tx(raw: bytes) -> Tx:
    """
    Return the transaction with these bytes.

    Raises:
        RpcError: They are no transaction (-22).
    """
    try:
        return tx_of(CTransaction.deserialize(raw))
    except (SerializationError, ValueError, IndexError) as error:
        message = "TX decode failed. Make sure the tx has at least one input."
        raise RpcError(Code.DESERIALIZATION, message) from error


def tx_of(parsed: Any) -> Tx:
    """Return python-bitcoinlib's transaction as ours."""
    raw: bytes = parsed.serialize()
    stacks = [tuple(part.scriptWitness.stack) for part in parsed.wit.vtxinwit]
    stacks += [()] * (len(parsed.vin) - len(stacks))
    bare = CTransaction(parsed.vin, parsed.vout, parsed.nLockTime, parsed.nVersion)
    inputs = [
        TxInput(
            (part.prevout.hash[::-1].hex(), part.prevout.n),
            bytes(part.scriptSig),
            part.nSequence,
            tuple(bytes(item) for item in stack),
        )
        for part, stack in zip(parsed.vin, stacks, strict=True)
    ]
    if not inputs:
        msg = "no inputs"
        raise ValueError(msg)
    return Tx(
        raw=raw,
        txid=parsed.GetTxid()[::-1].hex(),
        wtxid=parsed.GetHash()[::-1].hex(),
        version=parsed.nVersion,
        lock_time=parsed.nLockTime,
        stripped_bytes=len(bare.serialize()),
        inputs=tuple(inputs),
        outputs=tuple(TxOutput(part.nValue, bytes(part.scriptPubKey)) for part in parsed.vout),
    )
