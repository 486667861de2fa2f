"""
What Bitcoin Core and its descendants say when they refuse, in one table.

Codes are those of ``src/rpc/protocol.h``. Most refusals of a transaction share one code, so the
reject reason in the text decides (``src/validation.cpp``, ``src/consensus``, ``src/policy`` of
Bitcoin Core 25 to 29 and of Litecoin Core 0.21); the first part that occurs wins.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, override

from chains.json_rpc import RefusalError
from domain.errors import NodePrunedError, NodeSyncingError, TransientError

LOADING_CODE, ALREADY_IN_CHAIN_CODE, UNREADABLE_CODE = -28, -27, -22
NOT_CONNECTED_CODE, INITIAL_DOWNLOAD_CODE, NOT_FOUND_CODE = -9, -10, -5


class Verdict(StrEnum):
    """What a refusal means for us."""

    KNOWN = "known"
    """This very transaction is in the pool or on the chain."""
    INPUTS_USED = "inputs_used"
    """An input is unknown or spent; these very bytes may be what spent it."""
    CONFLICT = "conflict"
    """Another transaction in the pool spends one of its inputs and will not go for it."""
    FEE_TOO_LOW = "fee_too_low"
    NODE_BUSY = "node_busy"
    """Not now: another node, or the next block, may take it."""
    SYNCING = "syncing"
    """The node is loading, or behind the chain."""
    PRUNED = "pruned"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"
    """Can never be mined, or no node relays it."""
    UNKNOWN = "unknown"


_TEXTS: tuple[tuple[str, Verdict], ...] = (
    ("already in block chain", Verdict.KNOWN),
    ("already in utxo set", Verdict.KNOWN),
    ("txn-already-in-mempool", Verdict.KNOWN),
    ("txn-already-known", Verdict.KNOWN),
    ("already in mempool", Verdict.KNOWN),
    # The same txid, so the same payments, under another witness.
    ("txn-same-nonwitness-data-in-mempool", Verdict.KNOWN),
    ("pruned data", Verdict.PRUNED),
    ("not fully downloaded", Verdict.SYNCING),
    ("initial block download", Verdict.SYNCING),
    ("initial sync", Verdict.SYNCING),
    ("is not connected", Verdict.SYNCING),
    # Another attempt of ours is in the pool: it may not be replaced at all, or not for so little
    # more. These stand above the texts about the fee of a transaction alone.
    ("rejecting replacement", Verdict.CONFLICT),
    ("insufficient fee", Verdict.CONFLICT),
    ("replacement-", Verdict.CONFLICT),
    ("too many potential replacements", Verdict.CONFLICT),
    ("txn-mempool-conflict", Verdict.CONFLICT),
    ("min relay fee not met", Verdict.FEE_TOO_LOW),
    ("mempool min fee not met", Verdict.FEE_TOO_LOW),
    ("min-fee-not-met", Verdict.FEE_TOO_LOW),
    # It was taken and thrown out at once: of all in the pool it pays least.
    ("mempool full", Verdict.FEE_TOO_LOW),
    ("bad-txns-inputs-missing", Verdict.INPUTS_USED),
    ("bad-txns-inputs-spent", Verdict.INPUTS_USED),
    ("missing inputs", Verdict.INPUTS_USED),
    ("missing-inputs", Verdict.INPUTS_USED),
    # Blocks to come will mend these.
    ("too-long-mempool-chain", Verdict.NODE_BUSY),
    ("too-large-cluster", Verdict.NODE_BUSY),
    ("package-mempool-limits", Verdict.NODE_BUSY),
    ("bad-txns-premature-spend", Verdict.NODE_BUSY),
    ("non-final", Verdict.NODE_BUSY),
    ("non-bip68-final", Verdict.NODE_BUSY),
    ("work queue depth exceeded", Verdict.NODE_BUSY),
    ("scan already in progress", Verdict.NODE_BUSY),
    ("no such mempool", Verdict.NOT_FOUND),
    ("not in mempool", Verdict.NOT_FOUND),
    ("out of range", Verdict.NOT_FOUND),
    ("script-verify-flag", Verdict.REJECTED),
    ("bad-txns", Verdict.REJECTED),
    ("bad-witness", Verdict.REJECTED),
    ("dust", Verdict.REJECTED),
    ("tx-size", Verdict.REJECTED),
    ("scriptpubkey", Verdict.REJECTED),
    ("scriptsig", Verdict.REJECTED),
    ("absurdly-high-fee", Verdict.REJECTED),
    ("max-fee-exceeded", Verdict.REJECTED),
    ("maxfeerate", Verdict.REJECTED),
    ("maxburnamount", Verdict.REJECTED),
)

_CODES: Mapping[int, Verdict] = {
    LOADING_CODE: Verdict.SYNCING,
    ALREADY_IN_CHAIN_CODE: Verdict.KNOWN,
    UNREADABLE_CODE: Verdict.REJECTED,
    NOT_CONNECTED_CODE: Verdict.SYNCING,
    INITIAL_DOWNLOAD_CODE: Verdict.SYNCING,
    NOT_FOUND_CODE: Verdict.NOT_FOUND,
}

_FAILURES: Mapping[Verdict, type[TransientError]] = {
    Verdict.PRUNED: NodePrunedError,
    Verdict.SYNCING: NodeSyncingError,
}


class NodeError(RefusalError):
    """The ``error`` of a JSON-RPC answer."""

    def __init__(self, code: int, text: str) -> None:
        """Keep what the node said."""
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def parse(cls, error: Mapping[str, Any] | str) -> "NodeError":
        """Read an ``error`` member."""
        if isinstance(error, str):
            return cls(0, error)
        return cls(int(error.get("code") or 0), str(error.get("message") or ""))

    @property
    def verdict(self) -> Verdict:
        """Return what it means for us."""
        lowered = self.text.lower()
        by_text = next((verdict for part, verdict in _TEXTS if part in lowered), None)
        return by_text or _CODES.get(self.code, Verdict.UNKNOWN)

    @property
    @override
    def is_busy(self) -> bool:
        return self.verdict in (Verdict.NODE_BUSY, Verdict.SYNCING, Verdict.PRUNED)

    @property
    @override
    def failure(self) -> TransientError:
        error = _FAILURES.get(self.verdict)
        return error(f"The node says: {self.text}") if error else super().failure
