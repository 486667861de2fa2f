"""Who asks, and what they may."""

from domain.errors.base import (
    AuthenticationError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    RequestError,
)


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


class KycApplicationNotFoundError(NotFoundError):
    """The KYC application does not exist, or belongs to somebody else."""

    code, title = "kyc_application_not_found", "KYC application not found"


class KycApplicationStateError(ConflictError):
    """The KYC application, or the user's level, is not in a state that allows this."""

    code, title = "kyc_application_state", "KYC application is in another state"


class InvalidDocumentError(RequestError):
    """A document has expired, or was handed in before."""

    code, http_status, title = "invalid_document", 422, "Invalid document"
