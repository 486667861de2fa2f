"""What is wrong with a request, whatever it asks for."""

from domain.errors.base import RequestError


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


class InternalAssetError(RequestError):
    """The asset is on no chain: nothing is deposited or paid out in it."""

    code, http_status, title = "internal_asset", 422, "Asset is on no chain"


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


class InvalidLimitsError(RequestError):
    """The table of limits contradicts itself."""

    code, http_status, title = "invalid_limits", 422, "Invalid limits"


class IdempotencyKeyMissingError(RequestError):
    """A request that moves money came without an Idempotency-Key."""

    code, http_status, title = "idempotency_key_missing", 400, "Idempotency-Key required"


class IdempotencyKeyInvalidError(RequestError):
    """The Idempotency-Key is empty, longer than 255 characters, or not printable ASCII."""

    code, http_status, title = "idempotency_key_invalid", 400, "Invalid Idempotency-Key"


class IdempotencyKeyReusedError(RequestError):
    """The Idempotency-Key was used before with another body."""

    code, http_status, title = "idempotency_key_reused", 422, "Idempotency-Key reused"
