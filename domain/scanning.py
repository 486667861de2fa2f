"""
What a chain's blocks hold that could concern us, in the same shape for every chain family.

An outlet reports everything that arrived anywhere, under a short *lookup key*; whoever keeps our
addresses finds ours among them with one query, however many addresses there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload, override


@dataclass(frozen=True, slots=True, order=True)
class Outpoint:
    """An output of a transaction (UTXO chains)."""

    txid: str
    index: int

    def serialized(self) -> bytes:
        """Return the 36 bytes that it has in a transaction (``COutPoint``)."""
        return bytes.fromhex(self.txid)[::-1] + self.index.to_bytes(4, "little")


class Incoming(NamedTuple):
    """
    A movement of value to one address; a transaction may hold several, each on its own.

    A named tuple, because most of what a chain's blocks hold becomes one: it is made in a third of
    the time of a frozen dataclass.
    """

    txid: str
    position: str
    """
    Which movement of the transaction: ``vout:1``, ``out:1`` (Jobcoin), ``native``, ``log:3`` (the
    receipt's third log, from 0) or ``call:0.2`` (a path in the call tree). The same in whatever
    block it is mined.
    """
    lookup_key: bytes
    """Output script (UTXO chains) or 20-byte account (EVM, Jobcoin)."""
    amount_minor: int
    contract_address: str | None = None
    """EIP-55 address of the token; None is the native coin."""
    is_coinbase: bool = False
    """It can be spent only when mature (UTXO chains)."""


class Lazy[Item](Sequence[Item]):
    """
    Items that are built when somebody looks at them, and until then only searched by their keys.

    Nearly all that a chain's blocks hold is nobody's of ours: what it would be is never built.
    """

    __slots__ = ("_build", "_built", "keys")

    def __init__(self, keys: Sequence[bytes], build: Callable[[], tuple[Item, ...]]) -> None:
        """Take at least the keys of all items that could be ours; others may stand among them."""
        self.keys = keys
        self._build = build
        self._built: tuple[Item, ...] | None = None

    def _items(self) -> tuple[Item, ...]:
        if self._built is None:
            self._built = self._build()
        return self._built

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Item, ...]: ...
    @override
    def __getitem__(self, place: int | slice) -> Item | tuple[Item, ...]:
        """Return one item, or some."""
        return self._items()[place]

    @override
    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self._items())

    @override
    def __eq__(self, other: object) -> bool:
        """Compare as the tuple of the items."""
        return self._items() == (other._items() if isinstance(other, Lazy) else other)

    @override
    def __hash__(self) -> int:
        """Return the tuple's hash."""
        return hash(self._items())

    @override
    def __repr__(self) -> str:
        """Show the items."""
        return repr(self._items())


@dataclass(frozen=True, slots=True)
class ScannedBlock:
    """A canonical block, read once, with all we may want of it."""

    height: int
    hash: str
    parent_hash: str
    txids: tuple[str, ...]
    incoming: Sequence[Incoming] = ()
    spent: Sequence[tuple[Outpoint, str]] = ()
    """Outpoints that the block spends, and the txid that does (UTXO chains)."""

    def lookup_keys(self) -> Sequence[bytes]:
        """Return the lookup keys to search for: of all in ``incoming`` that could be ours."""
        if isinstance(self.incoming, Lazy):
            return self.incoming.keys
        return [incoming.lookup_key for incoming in self.incoming]

    def outpoints(self) -> Sequence[bytes]:
        """Return what the block spends, serialized."""
        if isinstance(self.spent, Lazy):
            return self.spent.keys
        return [outpoint.serialized() for outpoint, _ in self.spent]


@dataclass(frozen=True, slots=True)
class PendingView:
    """What a node's pool holds; chains without a pool that can be read say nothing."""

    txids: frozenset[str] = frozenset()
    """Everything that is in the pool now."""
    incoming: tuple[Incoming, ...] = ()
    """Movements of those transactions that the caller did not know."""
