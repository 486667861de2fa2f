"""What rates, quotes, purchases and payment gateways refuse, or do not answer."""

from domain.errors.base import (
    ConflictError,
    InvariantError,
    NotFoundError,
    OutcomeUnknownError,
    RequestError,
    TransientError,
)


class RateUnavailableError(TransientError):
    """No rate is to be had now: too few sources are fresh, or they do not agree."""

    code, title = "rate_unavailable", "No rate available"


class PairNotListedError(RequestError):
    """Nobody sells this asset for that one."""

    code, http_status, title = "pair_not_listed", 422, "Pair is not listed"


class InvalidRateTableError(RequestError):
    """The table of rates contradicts itself, or names what is not in the catalog."""

    code, http_status, title = "invalid_rate_table", 422, "Invalid rate table"


class QuoteNotFoundError(NotFoundError):
    """There is no such quote, or it is somebody else's."""

    code, title = "quote_not_found", "Quote not found"


class QuoteExpiredError(ConflictError):
    """The quote's time is over; its rate is not held any more."""

    code, title = "quote_expired", "Quote expired"


class QuoteUsedError(ConflictError):
    """A quote is used once, and this one was taken by something else."""

    code, title = "quote_used", "Quote used"


class QuoteMismatchError(RequestError):
    """The quote was given for something else: another purpose, pair or amount."""

    code, http_status, title = "quote_mismatch", 422, "Quote is for something else"


class PurchaseNotFoundError(NotFoundError):
    """There is no such purchase, or it is somebody else's."""

    code, title = "purchase_not_found", "Purchase not found"


class PurchaseStateError(ConflictError):
    """The purchase is not in a state that allows this."""

    code, title = "purchase_state", "Purchase state refuses"


class GatewayUnavailableError(TransientError):
    """The payment gateway does not answer, is busy, or does not take our key."""

    code, title = "gateway_unavailable", "Payment gateway unavailable"


class GatewayOutcomeUnknownError(OutcomeUnknownError):
    """The gateway's answer was lost; asking again with the same key tells what happened."""

    code, title = "gateway_outcome_unknown", "Payment gateway outcome unknown"


class GatewayRefusedError(ConflictError):
    """The payment gateway refuses what it was asked for."""

    code, title = "gateway_refused", "Payment gateway refused"


class GatewayMismatchError(InvariantError):
    """The payment gateway holds something else than we asked for."""

    code, title = "gateway_mismatch", "Payment gateway disagrees"


class WebhookSignatureError(RequestError):
    """The event is not signed by the gateway, or its signature is too old."""

    code, title = "webhook_signature", "Webhook signature refused"
