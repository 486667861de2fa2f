"""Who may ask: users with their second factor, sessions, API keys and step-up tokens."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ARRAY, Column, String
from sqlmodel import Field, SQLModel

from models.columns import timestamp


class Role(StrEnum):
    """What an admin may do; a user without a role only sees what is theirs."""

    APPROVER = "approver"
    """Approves and rejects payouts."""
    OPERATOR = "operator"
    """Retries, refunds and cancels what is stuck; reads everything that is running."""
    AUDITOR = "auditor"
    """Reads everything, changes nothing."""
    OWNER = "owner"
    """Manages admins and the policy."""


class Scope(StrEnum):
    """What an API key may do for its user."""

    READ = "read"
    PAYOUTS_WRITE = "payouts:write"
    DEPOSITS_WRITE = "deposits:write"
    """Asks for deposit addresses, quotes and purchases; nothing leaves by it."""


class User(SQLModel, table=True):
    """A person (or a service with a person's duties) who signs in."""

    __tablename__ = "app_user"

    id: str = Field(primary_key=True)
    email: str = Field(unique=True, max_length=254)
    """Lower-cased; unique."""
    password_hash: str
    """argon2id, PHC string."""
    roles: list[str] = Field(default_factory=list, sa_column=Column(ARRAY(String), nullable=False))
    disabled_at: datetime | None = timestamp(nullable=True)
    created_at: datetime = timestamp()


class SecondFactor(SQLModel, table=True):
    """A user's TOTP (RFC 6238) enrolment and its lockout."""

    __tablename__ = "second_factor"

    user_id: str = Field(primary_key=True, foreign_key="app_user.id")
    sealed_secret: bytes
    """The base32 secret, sealed with the API's data keys; associated data is the user id."""
    enabled_at: datetime | None = timestamp(nullable=True)
    last_step: int = 0
    """The newest 30-second step whose code was taken; no code at or before it works again."""
    last_step_fingerprint: str | None = None
    """The operation which took ``last_step``; only a retry of that very operation may repeat it."""
    failures: int = 0
    """Wrong codes in a row."""
    locked_until: datetime | None = timestamp(nullable=True)


class RecoveryCode(SQLModel, table=True):
    """A one-time code for a user who lost the authenticator; stored hashed."""

    __tablename__ = "recovery_code"

    user_id: str = Field(primary_key=True, foreign_key="app_user.id")
    code_hash: str = Field(primary_key=True)
    used_at: datetime | None = timestamp(nullable=True)


class UserSession(SQLModel, table=True):
    """A login. The bearer token is shown once; its SHA-256 is stored."""

    __tablename__ = "user_session"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id", index=True)
    token_hash: str = Field(unique=True)
    created_at: datetime = timestamp()
    expires_at: datetime = timestamp()
    revoked_at: datetime | None = timestamp(nullable=True)


class ApiKey(SQLModel, table=True):
    """A key with which a program acts for its user, within its scopes."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id", index=True)
    name: str = Field(max_length=100)
    secret_hash: str
    scopes: list[str] = Field(sa_column=Column(ARRAY(String), nullable=False))
    created_at: datetime = timestamp()
    expires_at: datetime | None = timestamp(nullable=True)
    revoked_at: datetime | None = timestamp(nullable=True)


class StepUpToken(SQLModel, table=True):
    """A second factor given ahead, for one operation with one body, for minutes."""

    __tablename__ = "step_up_token"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id", index=True)
    token_hash: str = Field(unique=True)
    fingerprint: str
    """SHA-256 of method, path and canonical body of the operation it is for."""
    expires_at: datetime = timestamp()


class LoginThrottle(SQLModel, table=True):
    """Failed passwords per email, so that guessing slows down."""

    __tablename__ = "login_throttle"

    email: str = Field(primary_key=True)
    failures: int = 0
    locked_until: datetime | None = timestamp(nullable=True)
