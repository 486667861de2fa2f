"""The roots of the tree of errors; see the package."""

from collections.abc import Mapping
from typing import ClassVar


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


def _leaves(base: type[StrongroomError]) -> Mapping[str, type[StrongroomError]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        found.update(_leaves(child))
    return found


def error_by_code(code: str) -> type[StrongroomError] | None:
    """Return the class whose stable code this is, or None."""
    return _leaves(StrongroomError).get(code)
