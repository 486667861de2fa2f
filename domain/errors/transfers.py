"""What moving money between users, and being found by others, may be refused for."""

from domain.errors.base import (
    ConflictError,
    InvariantError,
    NotAllowedError,
    NotFoundError,
    RequestError,
)


class InvalidHandleError(RequestError):
    """A handle is 3 to 30 ASCII letters, digits or underscores, and not a reserved word."""

    code, http_status, title = "invalid_handle", 422, "Invalid handle"


class HandleTakenError(ConflictError):
    """Somebody has this handle, or gave it up less than a year ago."""

    code, title = "handle_taken", "Handle taken"


class HandleCoolingDownError(ConflictError):
    """The handle was chosen a short while ago and cannot be changed yet."""

    code, title = "handle_cooling_down", "Handle cannot be changed yet"


class HandleNotFoundError(NotFoundError):
    """The caller has not chosen a handle."""

    code, title = "handle_not_found", "No handle chosen"


class InvalidPaymentLinkError(RequestError):
    """The text is not a ``strongroom:`` link that says whom to pay."""

    code, http_status, title = "invalid_payment_link", 422, "Invalid payment link"


class RecipientNotFoundError(NotFoundError):
    """Nobody can be paid under this handle or user id."""

    code, title = "recipient_not_found", "Recipient not found"


class LookupThrottledError(NotAllowedError):
    """Too many recipients were looked up, or too many that do not exist; ask again later."""

    code, http_status, title = "lookup_throttled", 429, "Too many lookups"

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 30) -> None:
        """Keep how long the caller must wait, in seconds."""
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class OwnTransferError(RequestError):
    """Nobody sends money to themselves, nor asks themselves for it."""

    code, http_status, title = "own_transfer", 422, "Sender and recipient are the same"


class TransferNotFoundError(NotFoundError):
    """There is no such transfer, or it is between others."""

    code, title = "transfer_not_found", "Transfer not found"


class MoneyRequestNotFoundError(NotFoundError):
    """There is no such money request, or it is between others."""

    code, title = "money_request_not_found", "Money request not found"


class MoneyRequestStateError(ConflictError):
    """The money request was paid, declined or cancelled, or is over."""

    code, title = "money_request_state", "Money request is not open"


class MoneyRequestMismatchError(RequestError):
    """The payment is not what the money request asks for."""

    code, http_status, title = "money_request_mismatch", 422, "Not what was asked for"


class MoneyRequestLimitError(ConflictError):
    """The caller has as many open money requests as one may have."""

    code, title = "money_request_limit", "Too many open money requests"


class PermitRefusedError(InvariantError):
    """The database does not accept this API's word that a second factor was given."""

    code, title = "permit_refused", "Permit refused by the database"
