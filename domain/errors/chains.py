"""What chains, keys and the services beneath us refuse, or do not answer."""

from collections.abc import Collection

from domain.errors.base import ConflictError, InvariantError, OutcomeUnknownError, TransientError


class ChainUnavailableError(TransientError):
    """No RPC endpoint of the chain answers."""

    code, title = "chain_unavailable", "Chain node unavailable"


class WrongChainError(InvariantError):
    """The RPC endpoint serves another chain than the settings say."""

    code, title = "wrong_chain", "Wrong chain"


class NodeSyncingError(TransientError):
    """The node is still loading or downloading the chain; what it says is not the present."""

    code, title = "node_syncing", "The chain node is not in step with the chain yet"


class NodePrunedError(TransientError):
    """The node has thrown away a block that must be read; only another node can help."""

    code, title = "node_pruned", "The chain node no longer has this block"


class BroadcastUnknownError(OutcomeUnknownError):
    """The node's answer to a broadcast was lost; the transaction may be in the pool."""

    code, title = "broadcast_unknown", "Broadcast outcome unknown"


class NonceTooLowError(OutcomeUnknownError):
    """The chain has used this account nonce: by one of our attempts, or by a stranger."""

    code, title = "nonce_too_low", "Account nonce already used"


class FeeTooLowError(TransientError):
    """The node wants a higher fee than this attempt pays."""

    code, title = "fee_too_low", "Fee too low"


class FeeAboveCeilingError(TransientError):
    """The chain's present fee is above the configured ceiling."""

    code, title = "fee_above_ceiling", "Chain fee above ceiling"


class InsufficientGasFundsError(TransientError):
    """The hot wallet cannot pay amount plus fee."""

    code, title = "hot_wallet_short", "Hot wallet balance too low"


class WouldRevertError(ConflictError):
    """A dry run of the call reverts; it would burn the fee and move nothing."""

    code, title = "would_revert", "Chain call would revert"


class WrongContractError(InvariantError):
    """At the disperse contract's address is no contract of ours; nothing is sent there."""

    code, title = "wrong_contract", "Not our disperse contract"


class NodeRejectedError(InvariantError):
    """The node refused a transaction for a reason that no retry can mend."""

    code, title = "node_rejected", "Node rejected the transaction"


class SigningRefusedError(InvariantError):
    """The signer found the intent unapproved or different from what was asked."""

    code, title = "signing_refused", "Signer refused"

    def __init__(self, detail: str | None = None, *, payout_ids: Collection[str] = ()) -> None:
        """Keep which payouts of the transaction are to blame; none where it is all of it."""
        super().__init__(detail)
        self.payout_ids = payout_ids


class SignerCeilingError(TransientError):
    """The wallet's ceiling per hour is reached; signing goes on when the window moves."""

    code, title = "signer_ceiling_reached", "Signer ceiling reached"


class KeyUnavailableError(InvariantError):
    """No key-encryption key with this id is configured."""

    code, title = "key_unavailable", "Encryption key unavailable"


class DatabaseUnavailableError(TransientError):
    """PostgreSQL does not answer."""

    code, title = "database_unavailable", "Database unavailable"


class WorkflowEngineUnavailableError(TransientError):
    """The Temporal server does not answer, or no worker picked the request up in time."""

    code, title = "workflow_engine_unavailable", "Workflow engine unavailable"
