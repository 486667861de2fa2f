"""Errors in Stripe's shape; https://docs.stripe.com/api/errors."""

from typing import Any


class StripeServerError(Exception):
    """An answer that is no success."""

    is_kept = True
    """It is stored under its idempotency key, as the outcome of what was begun."""

    def __init__(
        self, status: int, kind: str, message: str, *, code: str | None = None, **more: Any
    ) -> None:
        """Take the HTTP status, the ``type`` and what else the error says."""
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, "code": code, **more}}


class InvalidRequestError(StripeServerError):
    """The request cannot be carried out as it is."""

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, status: int = 400
    ) -> None:
        """Take what is wrong, and with which parameter."""
        super().__init__(status, "invalid_request_error", message, code=code, param=param)


class InvalidParameterError(InvalidRequestError):
    """Refused before anything was begun: a corrected request may use the same key."""

    is_kept = False


class MissingError(InvalidRequestError):
    """There is no such object."""

    def __init__(self, kind: str, object_id: str) -> None:
        """Take what was looked for."""
        super().__init__(
            f"No such {kind}: '{object_id}'", code="resource_missing", param="id", status=404
        )


class CardDeclinedError(StripeServerError):
    """The issuer said no."""

    def __init__(self, decline_code: str, intent: dict[str, Any]) -> None:
        """Take the issuer's reason, and the intent as it is now."""
        super().__init__(
            402,
            "card_error",
            "Your card was declined.",
            code="card_declined",
            decline_code=decline_code,
            payment_intent=intent,
        )


class IdempotencyError(StripeServerError):
    """The key was used for something else."""

    is_kept = False

    def __init__(self, key: str) -> None:
        """Take the key."""
        super().__init__(
            400,
            "idempotency_error",
            "Keys for idempotent requests can only be used with the same parameters they were "
            f"first used with. Try using a key other than '{key}' if you meant to execute a "
            "different request.",
        )


class KeyInUseError(StripeServerError):
    """A request with this key is being carried out."""

    is_kept = False

    def __init__(self) -> None:
        """Say so."""
        super().__init__(
            409,
            "idempotency_error",
            "There is currently another in-progress request using this Idempotent Key.",
            code="idempotency_key_in_use",
        )
