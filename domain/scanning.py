"""
What a chain's blocks hold that could concern us, in the same shape for every chain family.

An outlet reports everything that arrived anywhere, under a short *lookup key*; whoever keeps our
addresses finds ours among them with one query, however many addresses there are.
"""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, order=True)
class Outpoint:
    """An output of a transaction (UTXO chains)."""

    txid: str
    index: int


class Incoming(NamedTuple):
    """
    A movement of value to one address; a transaction may hold several, each on its own.

    A named tuple, because most of what a chain's blocks hold becomes one: it is made in a third of
    the time of a frozen dataclass.
    """

    txid: str
    position: str
    """
    Which movement of the transaction: ``vout:1``, ``native``, ``log:3`` (the receipt's third log,
    from 0) or ``call:0.2`` (a path in the call tree). The same in whatever block it is mined.
    """
    lookup_key: bytes
    """Output script (UTXO chains) or 20-byte account (EVM)."""
    amount_minor: int
    contract_address: str | None = None
    """EIP-55 address of the token; None is the native coin."""
    is_coinbase: bool = False
    """It can be spent only when mature (UTXO chains)."""


@dataclass(frozen=True, slots=True)
class ScannedBlock:
    """A canonical block, read once, with all we may want of it."""

    height: int
    hash: str
    parent_hash: str
    txids: tuple[str, ...]
    incoming: tuple[Incoming, ...] = ()
    spent: tuple[tuple[Outpoint, str], ...] = ()
    """Outpoints that the block spends, and the txid that does (UTXO chains)."""


@dataclass(frozen=True, slots=True)
class PendingView:
    """What a node's pool holds; chains without a pool that can be read say nothing."""

    txids: frozenset[str] = frozenset()
    """Everything that is in the pool now."""
    incoming: tuple[Incoming, ...] = ()
    """Movements of those transactions that the caller did not know."""
