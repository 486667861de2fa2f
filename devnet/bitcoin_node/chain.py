"""
The chain as clients see it: known blocks, the active ones, unspent coins, and where a txid is.

The kernel decides which blocks are active; ``_follow`` moves this view there. What the kernel
cannot do, forgetting a block, is done by making a new kernel from the journal without it.
"""

from dataclasses import dataclass
from pathlib import Path

from devnet.bitcoin_node.blocks import Block, parse_block
from devnet.bitcoin_node.journal import BLOCK, INVALIDATE, RECONSIDER, Journal
from devnet.bitcoin_node.kernel import Kernel
from devnet.bitcoin_node.transactions import OutPoint, TxOutput

_OP_RETURN = 0x6A
_MEDIAN_SPAN = 11


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that was created in a block."""

    output: TxOutput
    height: int
    is_coinbase: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to the active chain: first these left it, tip first, then those joined it."""

    disconnected: tuple[Block, ...] = ()
    connected: tuple[Block, ...] = ()


class Chain:
    """The chain in one folder."""

    def __init__(self, folder: Path) -> None:
        """Read the journal; nobody else may have the folder open."""
        self.blocks: dict[str, Block] = {}
        """Every known block by its hash, stale and invalid ones included."""
        self.heights: dict[str, int] = {}
        self.active: list[str] = []
        """Hashes of the active chain, by height."""
        self.coins: dict[OutPoint, Coin] = {}
        """What is unspent."""
        self.block_of: dict[str, str] = {}
        """By txid the block that last had it: stale ones stay known, as in Core's index."""
        self.spent: dict[str, dict[OutPoint, Coin]] = {}
        """By block, the coins that it spends: to undo it, and to tell its fees."""
        self._folder = folder / "kernel"
        self._invalid: set[str] = set()
        self._journal = Journal(folder / "blocks.journal")
        self._kernel = Kernel(self._folder)
        self._know(parse_block(self._kernel.genesis()))
        self.active.append(next(iter(self.blocks)))
        for kind, payload in self._journal:
            self._replay(kind, payload)
        self._rebuild()

    @property
    def height(self) -> int:
        """The height of the tip."""
        return len(self.active) - 1

    @property
    def tip(self) -> Block:
        """The active chain's last block."""
        return self.blocks[self.active[-1]]

    def is_active(self, block_hash: str) -> bool:
        """Tell whether a known block is on the active chain."""
        height = self.heights[block_hash]
        return height <= self.height and self.active[height] == block_hash

    def median_time_s(self, height: int | None = None) -> int:
        """Return the median of the last 11 blocks' times at a height of the active chain."""
        last = self.height if height is None else height
        hashes = self.active[max(0, last + 1 - _MEDIAN_SPAN) : last + 1]
        return sorted(self.blocks[item].time_s for item in hashes)[len(hashes) // 2]

    def submit(self, raw: bytes) -> Change:
        """
        Take a block, keep it, and go where the kernel goes.

        Raises:
            BlockRejectedError: It is not valid, or follows one that was invalidated.
        """
        self._kernel.process(raw)
        block = parse_block(raw)
        if block.hash not in self.blocks:
            self._know(block)
            self._journal.append(BLOCK, raw.hex())
        return self._follow()

    def invalidate(self, block_hash: str) -> Change:
        """Treat a block, and what follows it, as not valid."""
        self._journal.append(INVALIDATE, block_hash)
        self._invalid.add(block_hash)
        return self._rebuild()

    def reconsider(self, block_hash: str) -> Change:
        """Take back ``invalidate`` for a block, its ancestors and what follows it, as Core does."""
        self._journal.append(RECONSIDER, block_hash)
        self._forgive(block_hash)
        return self._rebuild()

    def close(self) -> None:
        """Close the files."""
        self._kernel.close()
        self._journal.close()

    def _replay(self, kind: str, payload: str) -> None:
        if kind == BLOCK:
            self._know(parse_block(bytes.fromhex(payload)))
        elif kind == INVALIDATE:
            self._invalid.add(payload)
        else:
            self._forgive(payload)

    def _know(self, block: Block) -> None:
        self.blocks[block.hash] = block
        self.heights[block.hash] = self.heights.get(block.prev_hash, -1) + 1
        for tx in block.txs:
            self.block_of.setdefault(tx.txid, block.hash)

    def _forgive(self, block_hash: str) -> None:
        self._invalid = {
            other
            for other in self._invalid
            if not (self._descends(other, block_hash) or self._descends(block_hash, other))
        }

    def _descends(self, block_hash: str, ancestor: str) -> bool:
        at = block_hash
        while self.heights[at] > self.heights[ancestor]:
            at = self.blocks[at].prev_hash
        return at == ancestor

    def _rebuild(self) -> Change:
        """Make a kernel of every block that does not descend from an invalid one."""
        self._kernel.close()
        self._kernel = Kernel(self._folder)
        genesis, *others = self.blocks.values()
        taken = {genesis.hash}
        for block in others:
            if block.prev_hash in taken and block.hash not in self._invalid:
                self._kernel.process(block.raw)
                taken.add(block.hash)
        return self._follow()

    def _follow(self) -> Change:
        """Move this view to the kernel's active chain."""
        disconnected: list[Block] = []
        while self.height > self._kernel.height or (
            self.active[-1] != self._kernel.hash_at(self.height)
        ):
            disconnected.append(self._disconnect())
        heights = range(self.height + 1, self._kernel.height + 1)
        connected = [self._connect(self._kernel.hash_at(height)) for height in heights]
        return Change(tuple(disconnected), tuple(connected))

    def _connect(self, block_hash: str) -> Block:
        block = self.blocks[block_hash]
        height = len(self.active)
        spent: dict[OutPoint, Coin] = {}
        for tx in block.txs:
            if not tx.is_coinbase:
                spent.update((outpoint, self.coins.pop(outpoint)) for outpoint in tx.outpoints)
            self.block_of[tx.txid] = block_hash
            for index, output in enumerate(tx.outputs):
                if output.script[:1] != bytes([_OP_RETURN]):
                    self.coins[tx.txid, index] = Coin(output, height, tx.is_coinbase)
        self.spent[block_hash] = spent
        self.active.append(block_hash)
        return block

    def _disconnect(self) -> Block:
        block = self.blocks[self.active.pop()]
        self.coins.update(self.spent.pop(block.hash))
        for tx in block.txs:
            for index in range(len(tx.outputs)):
                # After the spent ones came back: among them are coins of this very block.
                self.coins.pop((tx.txid, index), None)
        return block
