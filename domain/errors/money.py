"""What the books, the policy and the state of a payment refuse."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.errors.base import (
    ConflictError,
    InvariantError,
    NotAllowedError,
    NotFoundError,
    RequestError,
    TransientError,
)


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


class PocketNotFoundError(NotFoundError):
    """There is no such pocket, or it is somebody else's."""

    code, title = "pocket_not_found", "Pocket not found"


class PocketTransferNotFoundError(NotFoundError):
    """There is no such transfer to or from a pocket, or it is somebody else's."""

    code, title = "pocket_transfer_not_found", "Pocket transfer not found"


class ConversionUnavailableError(ConflictError):
    """What leaves and what arrives are different assets, and no quote came with the request."""

    code, title = "conversion_unavailable", "Conversion not available"


class ConversionStockError(ConflictError):
    """Of what it would be converted into, the house has not set enough aside."""

    code, title = "conversion_stock_short", "Not enough to convert into"


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


class ScreeningOutdatedError(TransientError):
    """It was screened too long ago to be signed; whoever screens is asked again first."""

    code, title = "screening_outdated", "Screened too long ago"


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
