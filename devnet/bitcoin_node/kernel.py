"""Bitcoin Core's consensus, in this process: which blocks are valid, and which scripts."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pbk
from pbk.script import PrecomputedTransactionData

from devnet.bitcoin_node.errors import BlockRejectedError
from devnet.bitcoin_node.transactions import Tx, TxOutput


class Kernel:
    """A regtest chain that lives as long as this object."""

    def __init__(self, folder: Path) -> None:
        """Begin at the genesis block; scratch files go below the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(dir=folder))
        self._verdicts: dict[str, pbk.BlockValidationResult] = {}
        # The callback must not hold this object: the cycle would keep the kernel alive.
        verdicts = self._verdicts
        callbacks = pbk.ValidationInterfaceCallbacks(
            block_checked=lambda _data, block, state: verdicts.__setitem__(
                str(block.block_hash), state.block_validation_result
            )
        )
        context = pbk.make_context(pbk.ChainType.REGTEST, callbacks)
        options = pbk.ChainstateManagerOptions(
            context, str(self._scratch), str(self._scratch / "blocks")
        )
        options.update_block_tree_db_in_memory(block_tree_db_in_memory=True)
        options.update_chainstate_db_in_memory(chainstate_db_in_memory=True)
        options.set_worker_threads_num(0)
        self._manager = pbk.ChainstateManager(options)
        self._manager.import_blocks([])

    @property
    def height(self) -> int:
        """The height of the tip."""
        return int(self._manager.get_active_chain().height)

    def hash_at(self, height: int) -> str:
        """Return the hash of the active chain's block at a height."""
        entry = self._manager.get_active_chain().block_tree_entries[height]
        return str(entry.block_hash)

    def genesis(self) -> bytes:
        """Return the genesis block."""
        entry = self._manager.get_active_chain().block_tree_entries[0]
        return bytes(self._manager.blocks[entry])

    def process(self, raw: bytes) -> None:
        """
        Take a block, on the active chain or beside it.

        Raises:
            BlockRejectedError: It is not valid.
        """
        try:
            block = pbk.Block(raw)
            self._manager.process_block(block)
        except (pbk.ProcessBlockException, RuntimeError) as error:
            msg = "the block is malformed, or does not connect to a known one"
            raise BlockRejectedError(msg) from error
        # True is answered for an invalid block too; only the callback tells.
        verdict = self._verdicts.pop(str(block.block_hash), pbk.BlockValidationResult.UNSET)
        if verdict is not pbk.BlockValidationResult.UNSET:
            raise BlockRejectedError(verdict.name.lower())

    def close(self) -> None:
        """Let go of the chain and delete its scratch files."""
        del self._manager
        shutil.rmtree(self._scratch, ignore_errors=True)


def bad_input_of(tx: Tx, spent: Sequence[TxOutput]) -> int | None:
    """Return the index of the first input that may not spend what it spends, or None."""
    kernel_tx = pbk.Transaction(tx.raw)
    outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(o.script), o.value_sat) for o in spent]
    precomputed = PrecomputedTransactionData(kernel_tx, outputs)
    for index, output in enumerate(spent):
        script = pbk.ScriptPubkey(output.script)
        flags = pbk.ScriptVerificationFlags.ALL
        if not script.verify(output.value_sat, kernel_tx, precomputed, index, flags):
            return index
    return None
