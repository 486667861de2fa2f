"""Who users are: their levels, what they applied with, and what was decided on it."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Column, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.columns import timestamp


class KycLevel(SQLModel, table=True):
    """A user's level; a user without a row is unverified (0)."""

    __tablename__ = "kyc_level"

    user_id: str = Field(primary_key=True, foreign_key="app_user.id")
    level: int
    application_id: str | None = Field(default=None, foreign_key="kyc_application.id")
    """What the level rests on; null at level 0."""
    since: datetime = timestamp()


class KycLevelChange(SQLModel, table=True):
    """A line of a level's history, never changed; part of the hash chain."""

    __tablename__ = "kyc_level_change"

    id: int | None = Field(default=None, primary_key=True)
    user_id: str = Field(foreign_key="app_user.id", index=True)
    level_before: int
    level_after: int
    cause: str
    application_id: str = Field(foreign_key="kyc_application.id")
    """What was approved, taken away, or has lapsed."""
    decision_id: str | None = Field(default=None, foreign_key="kyc_decision.id")
    """Null where a document has expired."""
    at: datetime = timestamp()


class KycApplication(SQLModel, table=True):
    """A user's wish for a level."""

    __tablename__ = "kyc_application"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id")
    level: int
    """What is asked for: 1 to 3."""
    status: str
    revision: int = 1
    """How often documents were handed in; those of a later revision do not count yet."""
    details_sha256: str
    """Of the sealed personal details, hex: what a decision is bound to."""
    granted_level: int | None = None
    """What it grants since it was approved; a downgrade lowers it."""
    note: str | None = Field(default=None, max_length=500)
    """What a reviewer said to the applicant."""
    expires_at: datetime | None = timestamp(nullable=True)
    """When nobody needs to decide, or answer, any more."""
    remind_at: datetime | None = timestamp(nullable=True)
    """When somebody is to be reminded next; of an approved one, that it is going to lapse."""
    documents_expire_at: datetime | None = timestamp(nullable=True)
    """Of an approved one: when it lapses."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()

    __table_args__ = (
        Index("kyc_application_list", "created_at", "id"),
        Index("kyc_application_of_user", "user_id", "created_at", "id"),
        Index(
            "kyc_application_open",
            "user_id",
            unique=True,
            postgresql_where=text("status IN ('submitted', 'in_review', 'information_requested')"),
        ),
    )


class KycDetails(SQLModel, table=True):
    """What is personal in an application, sealed with the API's data keys; nobody else reads it."""

    __tablename__ = "kyc_details"

    application_id: str = Field(primary_key=True, foreign_key="kyc_application.id")
    sealed: bytes = Field(sa_type=LargeBinary)
    """JSON; the associated data is the application's id."""


class KycDocument(SQLModel, table=True):
    """What is known of a document; the file itself is kept by whoever took it."""

    __tablename__ = "kyc_document"

    application_id: str = Field(primary_key=True, foreign_key="kyc_application.id")
    number: int = Field(primary_key=True)
    revision: int
    kind: str
    sealed_file_name: bytes = Field(sa_type=LargeBinary)
    """Sealed with the API's data keys; the associated data is the application's id."""
    sha256: str = Field(max_length=64)
    """Of the file, hex."""
    size_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    issued_country: str = Field(max_length=2)
    """ISO 3166-1 alpha-2."""
    expires_on: date | None = None
    """Its last day, UTC."""
    created_at: datetime = timestamp()

    __table_args__ = (UniqueConstraint("application_id", "sha256", name="kyc_document_once"),)


class KycApplicationEvent(SQLModel, table=True):
    """A line of an application's history; never changed."""

    __tablename__ = "kyc_application_event"

    id: int | None = Field(default=None, primary_key=True)
    application_id: str = Field(foreign_key="kyc_application.id", index=True)
    status: str
    detail: str | None = None
    at: datetime = timestamp()


class KycDecision(SQLModel, table=True):
    """An admin's decision, never changed; part of the hash chain."""

    __tablename__ = "kyc_decision"

    id: str = Field(primary_key=True)
    application_id: str = Field(foreign_key="kyc_application.id", index=True)
    admin_id: str = Field(foreign_key="app_user.id")
    decision: str
    revision: int
    """Of the application that was decided on."""
    level: int
    """What was approved or refused; of a downgrade, what remained."""
    content_hash: str
    """SHA-256 of what was reviewed; see ``domain.kyc.reviewed_hash``."""
    second_factor: str
    """How the admin proved it: ``totp`` or ``step_up``."""
    note: str | None = Field(default=None, max_length=500)
    decided_at: datetime = timestamp()
