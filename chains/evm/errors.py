"""
What EVM nodes say when they refuse, in one table.

There is no standard: codes are reused for different things, so the text decides. Texts are those
of geth, reth, anvil, Nethermind, Erigon and Besu, in lower case; the first that occurs wins, so a
text that contains another stands above it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, override

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from chains.json_rpc import RefusalError

REVERT_CODE = 3
"""JSON-RPC code of a reverted dry run, with the revert's data (geth, anvil, Erigon)."""


_ERROR_SELECTOR = "0x08c379a0"


class Verdict(StrEnum):
    """What a refusal means for us."""

    KNOWN = "known"
    """These very bytes are in the pool or on the chain."""
    NONCE_USED = "nonce_used"
    REPLACEMENT_UNDERPRICED = "replacement_underpriced"
    """Another transaction with this nonce is in the pool and pays nearly as much, or more."""
    FEE_TOO_LOW = "fee_too_low"
    SHORT_OF_FUNDS = "short_of_funds"
    NODE_BUSY = "node_busy"
    """Not taken for reasons of the node: full pool, rate limit, syncing. Another may take it."""
    REJECTED = "rejected"
    """Can never be mined."""
    REVERTED = "reverted"
    """Only of dry runs: the call itself fails."""
    BLOCK_UNKNOWN = "block_unknown"
    """The node does not know this block tag or has no state for it."""
    UNKNOWN = "unknown"


_TEXTS: tuple[tuple[str, Verdict], ...] = (
    # What follows is the contract's own text, which may contain anything.
    ("execution reverted", Verdict.REVERTED),
    ("vm execution error", Verdict.REVERTED),
    ("already known", Verdict.KNOWN),
    ("alreadyknown", Verdict.KNOWN),
    ("already imported", Verdict.KNOWN),
    ("known transaction", Verdict.KNOWN),
    ("existing tx with same hash", Verdict.KNOWN),
    ("already in mempool", Verdict.KNOWN),
    ("transaction already exists", Verdict.KNOWN),
    # Another transaction of ours holds the nonce.
    ("replacement transaction underpriced", Verdict.REPLACEMENT_UNDERPRICED),
    ("replacement not allowed", Verdict.REPLACEMENT_UNDERPRICED),
    ("replacementnotallowed", Verdict.REPLACEMENT_UNDERPRICED),
    ("transaction replacement underpriced", Verdict.REPLACEMENT_UNDERPRICED),
    ("could not replace existing", Verdict.REPLACEMENT_UNDERPRICED),
    ("ownnoncealreadyused", Verdict.REPLACEMENT_UNDERPRICED),
    ("nonce too low", Verdict.NONCE_USED),
    ("oldnonce", Verdict.NONCE_USED),
    ("old nonce", Verdict.NONCE_USED),
    # Our balance.
    ("insufficient funds", Verdict.SHORT_OF_FUNDS),
    ("insufficientfunds", Verdict.SHORT_OF_FUNDS),
    ("insufficient sender balance", Verdict.SHORT_OF_FUNDS),
    ("upfront cost exceeds account balance", Verdict.SHORT_OF_FUNDS),
    ("insufficient balance for transfer", Verdict.SHORT_OF_FUNDS),
    # Never, whatever the fee: these stand above the fee texts that some of them contain.
    ("max priority fee per gas higher than max fee", Verdict.REJECTED),
    ("exceeds the configured cap", Verdict.REJECTED),
    ("transaction fee cap exceeded", Verdict.REJECTED),
    ("intrinsic gas", Verdict.REJECTED),
    ("insufficient gas for floor", Verdict.REJECTED),
    ("exceeds block gas limit", Verdict.REJECTED),
    ("gas limit too high", Verdict.REJECTED),
    ("gaslimitexceeded", Verdict.REJECTED),
    ("gas limit is too high", Verdict.REJECTED),
    ("invalid chain id", Verdict.REJECTED),
    ("wrong chainid", Verdict.REJECTED),
    ("chain id", Verdict.REJECTED),
    ("invalid sender", Verdict.REJECTED),
    ("invalid signature", Verdict.REJECTED),
    ("sender not an eoa", Verdict.REJECTED),
    ("senderiscontract", Verdict.REJECTED),
    ("transaction type not supported", Verdict.REJECTED),
    ("txtypenotsupported", Verdict.REJECTED),
    ("replay-protected", Verdict.REJECTED),
    ("oversized data", Verdict.REJECTED),
    ("rlp:", Verdict.REJECTED),
    ("failed to decode", Verdict.REJECTED),
    ("nonce has max value", Verdict.REJECTED),
    # The fee.
    ("less than block base fee", Verdict.FEE_TOO_LOW),
    ("below current base fee", Verdict.FEE_TOO_LOW),
    ("below configured minimum gas price", Verdict.FEE_TOO_LOW),
    ("gas price below minimum", Verdict.FEE_TOO_LOW),
    ("underpriced", Verdict.FEE_TOO_LOW),
    ("fee too low", Verdict.FEE_TOO_LOW),
    ("feetoolow", Verdict.FEE_TOO_LOW),
    # The node's own trouble, or a gap before this nonce that the earlier attempts will fill.
    ("pool is full", Verdict.NODE_BUSY),
    ("pending sub-pool is full", Verdict.NODE_BUSY),
    ("sub-pool is full", Verdict.NODE_BUSY),
    ("account limit exceeded", Verdict.NODE_BUSY),
    ("sender has too many transactions", Verdict.NODE_BUSY),
    ("nonce too high", Verdict.NODE_BUSY),
    ("nonce too far in future", Verdict.NODE_BUSY),
    ("noncetoofarinfuture", Verdict.NODE_BUSY),
    ("noncegap", Verdict.NODE_BUSY),
    ("future transaction tries to replace pending", Verdict.NODE_BUSY),
    ("rate limit", Verdict.NODE_BUSY),
    ("too many requests", Verdict.NODE_BUSY),
    ("limit exceeded", Verdict.NODE_BUSY),
    ("sync", Verdict.NODE_BUSY),
    # Dry runs.
    ("revert", Verdict.REVERTED),
    ("invalid opcode", Verdict.REVERTED),
    ("gas required exceeds allowance", Verdict.REVERTED),
    ("out of gas", Verdict.REVERTED),
    ("unknown block", Verdict.BLOCK_UNKNOWN),
    ("block not found", Verdict.BLOCK_UNKNOWN),
    ("header not found", Verdict.BLOCK_UNKNOWN),
    ("finalized block", Verdict.BLOCK_UNKNOWN),
    ("pending", Verdict.BLOCK_UNKNOWN),
    ("block tag", Verdict.BLOCK_UNKNOWN),
    ("invalid block", Verdict.BLOCK_UNKNOWN),
)


class NodeError(RefusalError):
    """The ``error`` of a JSON-RPC answer: the node answered, and said no."""

    def __init__(self, code: int, text: str, data: str | None = None) -> None:
        """Keep the three members of an ``error`` object."""
        super().__init__(text)
        self.code = code
        self.text = text
        self.data = data

    @classmethod
    def parse(cls, error: Mapping[str, Any] | str) -> "NodeError":
        """Read an ``error`` member; some gateways put a bare string there."""
        if isinstance(error, str):
            return cls(0, error)
        data = error.get("data")
        # Some nodes wrap the revert's data once more.
        if isinstance(data, dict):
            data = data.get("data") or data.get("result")
        text = str(error.get("message") or "")
        return cls(int(error.get("code") or 0), text, data if isinstance(data, str) else None)

    @property
    @override
    def is_busy(self) -> bool:
        return self.verdict is Verdict.NODE_BUSY

    @property
    def verdict(self) -> Verdict:
        """Return what it means for us."""
        return Verdict.REVERTED if self.code == REVERT_CODE else classify(self.text)

    @property
    def revert_reason(self) -> str:
        """Return why a dry run failed, in the contract's own words where it gave any."""
        data = (self.data or "").removeprefix("Reverted ")
        return _decoded_reason(data) or self.text or "The call reverts without a reason."


def classify(text: str) -> Verdict:
    """Return what a node's refusal means; ``UNKNOWN`` for words that are not in the table."""
    lowered = text.lower()
    return next((verdict for part, verdict in _TEXTS if part in lowered), Verdict.UNKNOWN)


def _decoded_reason(data: str) -> str | None:
    """Return the text of ``Error(string)``, the way Solidity and Vyper spell a reason."""
    if not data.startswith(_ERROR_SELECTOR):
        return None
    try:
        (reason,) = decode(["string"], bytes.fromhex(data.removeprefix(_ERROR_SELECTOR)))
    except (DecodingError, ValueError):
        return None
    return str(reason)
