"""
What Bitcoin Core and its descendants say when they refuse, in one table.

Codes are those of ``src/rpc/protocol.h``. Most refusals of a transaction share one code, so the
reject reason in the text decides (``src/validation.cpp``, ``src/policy``); the first part that
occurs wins.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, override

from chains.json_rpc import RefusalError

LOADING_CODE, ALREADY_IN_CHAIN_CODE = -28, -27
NOT_FOUND_CODE, METHOD_UNKNOWN_CODE = -5, -32601


class Verdict(StrEnum):
    """What a refusal means for us."""

    KNOWN = "known"
    """This very transaction is in the pool or on the chain."""
    INPUTS_USED = "inputs_used"
    """An input is unknown or spent; these very bytes may be what spent it."""
    CONFLICT = "conflict"
    """Another transaction in the pool spends one of its inputs and is not replaced by it."""
    FEE_TOO_LOW = "fee_too_low"
    NODE_BUSY = "node_busy"
    """Not taken for reasons of the node: loading, or its pool is full. Another may take it."""
    SYNCING = "syncing"
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
    ("pruned data", Verdict.PRUNED),
    ("initial block download", Verdict.SYNCING),
    ("is not connected", Verdict.SYNCING),
    # A replacement that pays too little more names the rule; a conflict that may not be replaced
    # names none.
    ("rejecting replacement", Verdict.FEE_TOO_LOW),
    ("insufficient fee", Verdict.FEE_TOO_LOW),
    ("insufficient feerate", Verdict.FEE_TOO_LOW),
    ("min relay fee not met", Verdict.FEE_TOO_LOW),
    ("mempool min fee not met", Verdict.FEE_TOO_LOW),
    ("min-fee-not-met", Verdict.FEE_TOO_LOW),
    ("txn-mempool-conflict", Verdict.CONFLICT),
    ("bad-txns-spends-conflicting-tx", Verdict.CONFLICT),
    ("bad-txns-inputs-missingorspent", Verdict.INPUTS_USED),
    ("missing inputs", Verdict.INPUTS_USED),
    ("missing-inputs", Verdict.INPUTS_USED),
    ("mempool full", Verdict.NODE_BUSY),
    ("too-long-mempool-chain", Verdict.NODE_BUSY),
    ("work queue depth exceeded", Verdict.NODE_BUSY),
    ("bad-txns-premature-spend-of-coinbase", Verdict.NODE_BUSY),
    ("non-final", Verdict.NODE_BUSY),
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
    ("tx decode failed", Verdict.REJECTED),
    ("version", Verdict.REJECTED),
)

_CODES: Mapping[int, Verdict] = {
    LOADING_CODE: Verdict.SYNCING,
    ALREADY_IN_CHAIN_CODE: Verdict.KNOWN,
    NOT_FOUND_CODE: Verdict.NOT_FOUND,
    -9: Verdict.SYNCING,
    -10: Verdict.SYNCING,
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
