"""Unconfirmed transactions and how they depend on each other. Rules are in ``acceptance``."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from devnet.bitcoin_node.transactions import OutPoint, Tx


@dataclass(slots=True)
class Entry:
    """One transaction in the mempool."""

    tx: Tx
    fee_sat: int
    time_s: int
    height: int
    """Of the tip when it came."""
    parents: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)


class Mempool:
    """Entries by txid, parents always before their children."""

    def __init__(self) -> None:
        """Begin empty."""
        self.spender_of: dict[OutPoint, str] = {}
        """By outpoint, the txid that spends it."""
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __contains__(self, txid: str) -> bool:
        return txid in self._entries

    def __getitem__(self, txid: str) -> Entry:
        return self._entries[txid]

    def get(self, txid: str) -> Entry | None:
        """Return an entry, or None."""
        return self._entries.get(txid)

    def parents_of(self, tx: Tx) -> set[str]:
        """Return the txids in the mempool whose outputs a transaction spends."""
        return {txid for txid, _ in tx.outpoints if txid in self._entries}

    def conflicts_of(self, tx: Tx) -> set[str]:
        """Return the txids in the mempool that spend what a transaction spends."""
        return {self.spender_of[item] for item in tx.outpoints if item in self.spender_of}

    def ancestors(self, txids: Iterable[str]) -> set[str]:
        """Return these and everything in the mempool that they depend on."""
        return self._closure(txids, lambda entry: entry.parents)

    def descendants(self, txids: Iterable[str]) -> set[str]:
        """Return these and everything in the mempool that depends on them."""
        return self._closure(txids, lambda entry: entry.children)

    def add(self, entry: Entry) -> None:
        """Put in a transaction whose parents and inputs were checked."""
        txid = entry.tx.txid
        entry.parents = self.parents_of(entry.tx)
        for parent in entry.parents:
            self._entries[parent].children.add(txid)
        self.spender_of.update((outpoint, txid) for outpoint in entry.tx.outpoints)
        self._entries[txid] = entry

    def remove(self, txids: Iterable[str]) -> None:
        """Take transactions out; whoever wants their descendants out names them as well."""
        for txid in txids:
            entry = self._entries.pop(txid)
            for parent in entry.parents & self._entries.keys():
                self._entries[parent].children.discard(txid)
            for child in entry.children & self._entries.keys():
                self._entries[child].parents.discard(txid)
            for outpoint in entry.tx.outpoints:
                del self.spender_of[outpoint]

    def clear(self) -> list[Entry]:
        """Take everything out and return it, parents first."""
        entries = list(self._entries.values())
        self._entries.clear()
        self.spender_of.clear()
        return entries

    def totals(self, txids: Iterable[str]) -> tuple[int, int, int]:
        """Return of several entries: how many, their virtual bytes, their fees in satoshi."""
        entries = [self._entries[txid] for txid in txids]
        sizes, fees = (e.tx.vsize for e in entries), (e.fee_sat for e in entries)
        return len(entries), sum(sizes), sum(fees)

    def _closure(self, txids: Iterable[str], step: Callable[[Entry], set[str]]) -> set[str]:
        found: set[str] = set()
        waiting = list(txids)
        while waiting:
            txid = waiting.pop()
            if txid not in found:
                found.add(txid)
                waiting.extend(step(self._entries[txid]))
        return found
