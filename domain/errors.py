"""
Every error that Strongroom can answer with, in one tree.

    StrongroomError
    ├── RequestError           the caller's fault; asking again unchanged cannot help
    │   ├── AuthenticationError    who are you?
    │   ├── NotAllowedError       you may not
    │   └── NotFoundError          there is no such thing (or it is not yours)
    ├── ConflictError          the request is fine, the present state refuses it
    ├── TransientError         nothing happened; retry later
    ├── OutcomeUnknownError    it may have happened: look it up, never retry blindly
    └── InvariantError         a promise is broken: stop and page

Each leaf has a stable ``code``. The code is the ``type`` of the Temporal ``ApplicationError``
and the ``code`` of the ``application/problem+json`` answer (RFC 9457); it never changes meaning.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple


class StrongroomError(Exception):
    """Base of every expected error. ``detail`` is safe to show to the caller."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(
        self, detail: str | None = None, *, errors: list[dict[str, str]] | None = None
    ) -> None:
        """Keep the caller-safe ``detail`` and, for bad input, the offending fields."""
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = errors or []


class RequestError(StrongroomError):
    """The request itself is wrong."""

    code, http_status, title = "bad_request", 400, "Bad request"


class AuthenticationError(RequestError):
    """No valid session or API key came with the request."""

    code, http_status, title = "unauthenticated", 401, "Authentication required"


class NotAllowedError(RequestError):
    """The caller is known but lacks the role or scope."""

    code, http_status, title = "forbidden", 403, "Not allowed"


class NotFoundError(RequestError):
    """The resource does not exist, or belongs to somebody else."""

    code, http_status, title = "not_found", 404, "Not found"


class ConflictError(StrongroomError):
    """The present state refuses a well-formed request."""

    code, http_status, title = "conflict", 409, "Conflict"


class TransientError(StrongroomError):
    """Nothing happened; the same request may work later."""

    code, http_status, title, retryable = "temporarily_unavailable", 503, "Try again later", True


class OutcomeUnknownError(StrongroomError):
    """The effect may have happened; look it up before doing anything else."""

    code, http_status, title, retryable = "outcome_unknown", 503, "Outcome unknown", True


class InvariantError(StrongroomError):
    """A promise of the books or of the write-ahead log is broken; stop and page."""

    code, title = "invariant_violated", "Invariant violated"


# --- bad input -----------------------------------------------------------------------------


class ValidationError(RequestError):
    """A field is missing, malformed or unknown."""

    code, http_status, title = "validation_failed", 422, "Validation failed"


class InvalidAmountError(RequestError):
    """The amount is not a positive whole number of minor units within uint256."""

    code, http_status, title = "invalid_amount", 422, "Invalid amount"


class AmountOutOfRangeError(RequestError):
    """The amount is below the asset's minimum or above its maximum."""

    code, http_status, title = "amount_out_of_range", 422, "Amount out of range"


class UnknownAssetError(RequestError):
    """No enabled asset has this code."""

    code, http_status, title = "unknown_asset", 422, "Unknown asset"


class InvalidAddressError(RequestError):
    """The destination is malformed, has a wrong checksum, or is the zero address."""

    code, http_status, title = "invalid_address", 422, "Invalid address"


class ForbiddenDestinationError(RequestError):
    """The destination is one of our own wallets or the token's own contract."""

    code, http_status, title = "forbidden_destination", 422, "Forbidden destination"


class InvalidCursorError(RequestError):
    """The pagination cursor was not issued by this list."""

    code, http_status, title = "invalid_cursor", 400, "Invalid cursor"


class MalformedJsonError(RequestError):
    """The body is not JSON (RFC 8259) in UTF-8."""

    code, http_status, title = "malformed_json", 400, "Malformed JSON"


class MethodNotAllowedError(RequestError):
    """The resource exists and does not know this method; ``Allow`` names those it knows."""

    code, http_status, title = "method_not_allowed", 405, "Method not allowed"


class BodyTooLargeError(RequestError):
    """The request body is larger than the server reads."""

    code, http_status, title = "body_too_large", 413, "Body too large"


class UnsupportedMediaTypeError(RequestError):
    """The body's media type is not one that this operation reads."""

    code, http_status, title = "unsupported_media_type", 415, "Unsupported media type"


class InvalidPolicyError(RequestError):
    """The policy document contradicts itself."""

    code, http_status, title = "invalid_policy", 422, "Invalid policy"


# --- idempotency ---------------------------------------------------------------------------


class IdempotencyKeyMissingError(RequestError):
    """A request that moves money came without an Idempotency-Key."""

    code, http_status, title = "idempotency_key_missing", 400, "Idempotency-Key required"


class IdempotencyKeyInvalidError(RequestError):
    """The Idempotency-Key is empty, longer than 255 characters, or not printable ASCII."""

    code, http_status, title = "idempotency_key_invalid", 400, "Invalid Idempotency-Key"


class IdempotencyKeyReusedError(RequestError):
    """The Idempotency-Key was used before with another body."""

    code, http_status, title = "idempotency_key_reused", 422, "Idempotency-Key reused"


# --- identity ------------------------------------------------------------------------------


class InvalidCredentialsError(AuthenticationError):
    """The email, password or second factor does not match."""

    code, title = "invalid_credentials", "Invalid credentials"


class LoginThrottledError(AuthenticationError):
    """Too many wrong passwords for this email; locked for a while, longer each time."""

    code, http_status, title = "login_throttled", 429, "Too many failed logins"

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 30) -> None:
        """Keep how long the caller must wait, in seconds."""
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class SessionExpiredError(AuthenticationError):
    """The session or key is over, revoked, or was never issued."""

    code, title = "session_invalid", "Session or key is not valid"


class SecondFactorRequiredError(NotAllowedError):
    """A fresh one-time code or a step-up token is required and was not sent."""

    code, title = "second_factor_required", "Second factor required"


class SecondFactorNotEnabledError(NotAllowedError):
    """Two-factor authentication must be enabled before any money operation."""

    code, title = "second_factor_not_enabled", "Two-factor authentication is not enabled"


class SecondFactorInvalidError(NotAllowedError):
    """The one-time code is wrong, too old, or was used already."""

    code, title = "second_factor_invalid", "One-time code refused"


class SecondFactorLockedError(NotAllowedError):
    """Too many wrong codes; locked for a while, longer each time."""

    code, http_status, title = "second_factor_locked", 429, "Second factor locked"

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 30) -> None:
        """Keep how long the caller must wait, in seconds."""
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class SecondFactorAlreadyEnabledError(ConflictError):
    """Two-factor authentication is on already; disable it first to enrol anew."""

    code, title = "second_factor_already_enabled", "Second factor already enabled"


class EnrolmentMissingError(ConflictError):
    """There is no enrolment to confirm."""

    code, title = "enrolment_missing", "No enrolment in progress"


class EmailTakenError(ConflictError):
    """Another user has this email."""

    code, title = "email_taken", "Email already registered"


class RoleMissingError(NotAllowedError):
    """The caller lacks the role this operation asks for."""

    code, title = "role_missing", "Role missing"


class LastOwnerError(ConflictError):
    """Somebody must remain who can manage admins and the policy."""

    code, title = "last_owner", "Last owner"


class ScopeMissingError(NotAllowedError):
    """The API key lacks the scope this operation asks for."""

    code, title = "scope_missing", "Scope missing"


# --- ledger --------------------------------------------------------------------------------


class InsufficientAvailableBalanceError(ConflictError):
    """The available balance does not cover the amount plus the fee."""

    code, title = "insufficient_available_balance", "Insufficient available balance"


class LimitExceededError(ConflictError):
    """The operation would pass a limit of count or amount for the running window."""

    code, title = "limit_exceeded", "Limit exceeded"


class WalletFrozenError(ConflictError):
    """A deposit of the customer was taken back by its chain, so nothing leaves for now."""

    code, title = "wallet_frozen", "Outgoing operations are frozen"


class DepositAddressLimitError(ConflictError):
    """The customer has as many deposit addresses on this chain as one may have."""

    code, title = "deposit_address_limit", "Too many deposit addresses"


class HoldStateError(ConflictError):
    """The hold was captured, released or expired already, or does not cover the capture."""

    code, title = "hold_state", "Hold is not open"


class UnbalancedTransactionError(InvariantError):
    """The entries of a ledger transaction do not sum to zero per asset."""

    code, title = "unbalanced_transaction", "Unbalanced ledger transaction"


class IdempotencyConflictError(InvariantError):
    """A ledger transaction with this key exists and says something else."""

    code, title = "ledger_key_conflict", "Ledger idempotency key conflict"


class BrokenChainError(InvariantError):
    """The hash chain over ledger and decisions does not verify."""

    code, title = "hash_chain_broken", "Hash chain broken"


# --- payouts and approvals -----------------------------------------------------------------


class DepositAddressNotFoundError(NotFoundError):
    """There is no such deposit address, or it is somebody else's."""

    code, title = "deposit_address_not_found", "Deposit address not found"


class DepositNotFoundError(NotFoundError):
    """There is no such deposit, or it is somebody else's."""

    code, title = "deposit_not_found", "Deposit not found"


class ChainNotFoundError(NotFoundError):
    """The catalog has no such chain."""

    code, title = "chain_not_found", "Chain not found"


class RescanNotFoundError(NotFoundError):
    """There is no such rescan."""

    code, title = "rescan_not_found", "Rescan not found"


class AccountNotReadyError(TransientError):
    """The signer has not made the keys of this chain yet."""

    code, title = "account_not_ready", "The chain's keys are not ready yet"


class PayoutNotFoundError(NotFoundError):
    """There is no such payout, or it is somebody else's."""

    code, title = "payout_not_found", "Payout not found"


class PayoutStateError(ConflictError):
    """The payout has moved on; this operation is no longer possible."""

    code, title = "payout_state", "Payout state refuses this"


class PayoutRunNotFoundError(NotFoundError):
    """There is no such bulk upload, or it is somebody else's."""

    code, title = "payout_run_not_found", "Payout run not found"


class PayoutRunStateError(ConflictError):
    """The run has moved on, or has problems; this operation is not possible."""

    code, title = "payout_run_state", "Payout run state refuses this"


class FaultyLine(NamedTuple):
    """A line of an upload that cannot be read, and why; the file's first line is 1."""

    line: int
    code: str
    detail: str


class InvalidUploadError(RequestError):
    """An upload cannot be read as a run; the answer names the lines, and nothing is stored."""

    code, title = "invalid_upload", "Invalid upload"

    def __init__(
        self,
        detail: str | None = None,
        *,
        lines: Sequence[FaultyLine] = (),
        line_count: int = 0,
    ) -> None:
        """Keep the first faulty lines, and how many there are in all."""
        super().__init__(detail)
        self.lines = tuple(lines)
        self.line_count = line_count


class InvalidLinesError(RequestError):
    """Lines are named as ``2-500,701``, each once."""

    code, title = "invalid_lines", "Invalid lines"


class AddressDeniedError(ConflictError):
    """Screening forbids paying this address."""

    code, title = "address_denied", "Destination denied by screening"


class ScreeningUnavailableError(TransientError):
    """Whoever screens addresses gives no answer; what is not screened is not paid."""

    code, title = "screening_unavailable", "Screening unavailable"


class ScreeningNotFoundError(NotFoundError):
    """Nothing is said of this address."""

    code, title = "screening_not_found", "Address not screened"


class BookEntryNotFoundError(NotFoundError):
    """There is no such entry in the caller's address book."""

    code, title = "book_entry_not_found", "Address book entry not found"


class AlreadyInBookError(ConflictError):
    """The address book has this address; remove the entry first to name it anew."""

    code, title = "already_in_book", "Already in the address book"


class DestinationNotInBookError(ConflictError):
    """The user pays only addresses of the address book, and this one is not in it."""

    code, title = "destination_not_in_book", "Destination not in the address book"


class DestinationCoolingDownError(ConflictError):
    """The address book has it, but its cool-down is not over."""

    code, title = "destination_cooling_down", "Destination is cooling down"


class OwnRequestError(NotAllowedError):
    """Four eyes: nobody decides on their own request."""

    code, title = "own_request", "Own request"


class AlreadyDecidedError(ConflictError):
    """This approver decided on this payout before."""

    code, title = "already_decided", "Already decided"


class ApprovalExpiredError(ConflictError):
    """The time to approve is over."""

    code, title = "approval_expired", "Approval expired"


# --- chains and signing --------------------------------------------------------------------


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


class SignerCeilingError(TransientError):
    """The wallet's ceiling per hour is reached; signing goes on when the window moves."""

    code, title = "signer_ceiling_reached", "Signer ceiling reached"


class KeyUnavailableError(InvariantError):
    """No key-encryption key with this id is configured."""

    code, title = "key_unavailable", "Encryption key unavailable"


# --- infrastructure ------------------------------------------------------------------------


class DatabaseUnavailableError(TransientError):
    """PostgreSQL does not answer."""

    code, title = "database_unavailable", "Database unavailable"


class WorkflowEngineUnavailableError(TransientError):
    """The Temporal server does not answer, or no worker picked the request up in time."""

    code, title = "workflow_engine_unavailable", "Workflow engine unavailable"


def _leaves(base: type[StrongroomError]) -> Mapping[str, type[StrongroomError]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        found.update(_leaves(child))
    return found


def error_by_code(code: str) -> type[StrongroomError] | None:
    """Return the class whose stable code this is, or None."""
    return _leaves(StrongroomError).get(code)
