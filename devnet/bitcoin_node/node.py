"""Chain and mempool as one thing: what a transaction, a block or a change of mind does to both."""

import json
import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from devnet.bitcoin_node import blocks
from devnet.bitcoin_node.acceptance import Candidate, enter, examine
from devnet.bitcoin_node.chain import Chain, Change
from devnet.bitcoin_node.errors import RejectedError
from devnet.bitcoin_node.mempool import Entry, Mempool
from devnet.bitcoin_node.transactions import Tx, parse_tx


class Node:
    """One development node on one folder. Not for several threads at a time: the server locks."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's chain, and the mempool of its last orderly stop."""
        self.chain = Chain(folder)
        self.pool = Mempool()
        self.started_s = time.time()
        self.feerate: Decimal | None = None
        """What ``estimatesmartfee`` answers, in coins per 1000 virtual bytes; None: no data."""
        self._saved_pool = folder / "mempool.json"
        if self._saved_pool.exists():
            saved = json.loads(self._saved_pool.read_text())
            self._enter_again((parse_tx(bytes.fromhex(raw)), time_s) for raw, time_s in saved)
            self._saved_pool.unlink()

    def examine(self, tx: Tx) -> Candidate:
        """Tell whether a transaction may enter the mempool; raises ``RejectedError``."""
        return examine(tx, self.chain, self.pool)

    def enter(self, candidate: Candidate) -> None:
        """Put a transaction that was just examined into the mempool."""
        enter(candidate, self.pool, time_s=int(time.time()), height=self.chain.height)

    def generate(self, script: bytes, txs: Sequence[Tx] | None = None) -> str:
        """
        Mine one block of these transactions, or of the mempool's best; return its hash.

        Raises:
            BlockRejectedError: The transactions make no valid block.
        """
        chosen = self._best() if txs is None else list(txs)
        raw = blocks.mine_block(
            prev_hash=self.chain.tip.hash,
            height=self.chain.height + 1,
            time_s=max(self.chain.median_time_s() + 1, int(time.time())),
            script=script,
            txs=chosen,
            fees_sat=self._fees_sat(chosen),
        )
        self.submit_block(raw)
        return blocks.parse_block(raw).hash

    def submit_block(self, raw: bytes) -> None:
        """Take a block; raises ``BlockRejectedError``."""
        self._apply(self.chain.submit(raw))

    def invalidate(self, block_hash: str) -> None:
        """Go back to before a block; what it and its successors had becomes unconfirmed."""
        self._apply(self.chain.invalidate(block_hash))

    def reconsider(self, block_hash: str) -> None:
        """Allow an invalidated block again."""
        self._apply(self.chain.reconsider(block_hash))

    def close(self) -> None:
        """Save the mempool, as Core does on an orderly stop, and close the files."""
        saved = [(entry.tx.raw.hex(), entry.time_s) for entry in self.pool]
        self._saved_pool.write_text(json.dumps(saved))
        self.chain.close()

    def _apply(self, change: Change) -> None:
        for block in change.connected:
            confirmed = [tx.txid for tx in block.txs if tx.txid in self.pool]
            self.pool.remove(confirmed)
            for tx in block.txs:
                self.pool.remove(self.pool.descendants(self.pool.conflicts_of(tx)))
        if change.disconnected:
            known = {entry.tx.txid: entry.time_s for entry in self.pool}
            returned = [tx for block in reversed(change.disconnected) for tx in block.txs[1:]]
            now_s = int(time.time())
            # Those of the blocks first: others in the mempool may depend on them.
            queue = [(tx, known.get(tx.txid, now_s)) for tx in returned]
            queue += [(entry.tx, entry.time_s) for entry in self.pool.clear()]
            self._enter_again(queue)

    def _enter_again(self, queue: Iterable[tuple[Tx, int]]) -> None:
        for tx, time_s in queue:
            try:
                candidate = examine(tx, self.chain, self.pool, limits=False)
            except RejectedError:
                continue
            enter(candidate, self.pool, time_s=time_s, height=self.chain.height)

    def _best(self) -> list[Tx]:
        """Return what fits into a block: the packages that pay most first, parents first."""
        if sum(entry.tx.weight for entry in self.pool) <= blocks.WEIGHT_MAX:
            return [entry.tx for entry in self.pool]
        chosen: dict[str, Entry] = {}
        weight = 0
        for entry in sorted(self.pool, key=self._package_rate, reverse=True):
            ancestors = self.pool.ancestors([entry.tx.txid]) - chosen.keys()
            package = [item for item in self.pool if item.tx.txid in ancestors]
            package_weight = sum(item.tx.weight for item in package)
            if weight + package_weight <= blocks.WEIGHT_MAX:
                chosen.update((item.tx.txid, item) for item in package)
                weight += package_weight
        return [entry.tx for entry in chosen.values()]

    def _package_rate(self, entry: Entry) -> float:
        _, vbytes, fees_sat = self.pool.totals(self.pool.ancestors([entry.tx.txid]))
        return fees_sat / vbytes

    def _fees_sat(self, txs: Sequence[Tx]) -> int:
        """Return the fees as far as inputs are known; the kernel refuses the block elsewhere."""
        values = {
            (tx.txid, n): output.value_sat for tx in txs for n, output in enumerate(tx.outputs)
        }
        total = 0
        for tx in txs:
            for outpoint in tx.outpoints:
                coin = self.chain.coins.get(outpoint)
                total += coin.output.value_sat if coin else values.get(outpoint, 0)
            total -= sum(output.value_sat for output in tx.outputs)
        return max(total, 0)
