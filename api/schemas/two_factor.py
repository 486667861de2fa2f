"""The second factor as clients see it."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue

from api.schemas.base import Answer, StrictModel
from api.schemas.users import PasswordText
from identity.totp import CODE_PATTERN

CodeText = Annotated[str, Field(pattern=CODE_PATTERN, examples=["492039"])]


class TwoFactorView(Answer):
    """Where the second factor stands."""

    is_enabled: bool
    locked_for_s: int = Field(description="Seconds until a code is looked at again; 0: now.")
    recovery_codes_left: int


class EnrolmentRequest(StrictModel):
    """
    The password again.

    A stolen session must not be enough to enrol the thief's authenticator.
    """

    password: PasswordText


class EnrolmentView(Answer):
    """What the authenticator app needs; shown this once."""

    secret: str = Field(description="Base32, to be typed in.", repr=False)
    otpauth_uri: str = Field(repr=False)
    qr_data_uri: str = Field(description="The URI as a QR code, SVG.", repr=False)


class ConfirmationRequest(StrictModel):
    """The first code of the new authenticator."""

    code: CodeText


class RecoveryCodesView(Answer):
    """Codes that disable the second factor when the authenticator is lost; shown this once."""

    recovery_codes: list[str] = Field(repr=False)


class StepUpRequest(StrictModel):
    """A code, and the one operation that it is given for."""

    code: CodeText
    method: Literal["POST", "PUT", "PATCH", "DELETE"]
    path: str = Field(
        max_length=300,
        pattern=r"^/v1/[A-Za-z0-9_./:-]+$",
        description="Path of the operation, without a query.",
        examples=["/v1/payouts"],
    )
    body: JsonValue = Field(
        default=None, description="Its JSON body, in any spelling; null: it has none."
    )
    idempotency_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="The Idempotency-Key it will be sent with, if it takes one.",
    )


class StepUpView(Answer):
    """A token to be sent as `Step-Up-Token` with exactly that operation."""

    token: str = Field(examples=["sru_q0Zk…"], repr=False)
    expires_at: AwareDatetime
