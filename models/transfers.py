"""Money from user to user: handles, transfers, and requests for money."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.columns import minor_units, timestamp


class UserHandle(SQLModel, table=True):
    """A handle that somebody has, or had: a row goes to another user after a year at the least."""

    __tablename__ = "user_handle"

    name: str = Field(primary_key=True, max_length=30)
    """Lower case; what is compared."""
    shown: str = Field(max_length=30)
    """As its user spells it."""
    user_id: str = Field(foreign_key="app_user.id")
    claimed_at: datetime = timestamp()
    released_at: datetime | None = timestamp(nullable=True)
    """When its user chose another; it reaches nobody since."""

    __table_args__ = (
        Index(
            "user_handle_current",
            "user_id",
            unique=True,
            postgresql_where=text("released_at IS NULL"),
        ),
    )


class LookupThrottle(SQLModel, table=True):
    """How much of their allowance of lookups a user has used up."""

    __tablename__ = "lookup_throttle"

    user_id: str = Field(primary_key=True, foreign_key="app_user.id")
    busy_until: datetime = timestamp()
    """Each lookup moves it on; too far ahead of the clock means wait."""


class PermitKey(SQLModel, table=True):
    """
    What the database checks an API's permits with (HMAC, RFC 2104); readable by its owner alone.

    The pads stand for the key: each is the key XOR a constant, filled up to SHA-256's block.
    """

    __tablename__ = "permit_key"

    key_id: str = Field(primary_key=True)
    inner_pad: bytes
    outer_pad: bytes
    registered_at: datetime = timestamp()


class MoneyRequest(SQLModel, table=True):
    """Somebody asks for money: of one user, or of whoever has the link."""

    __tablename__ = "money_request"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id")
    """Who asks, and will be paid."""
    payer_id: str | None = Field(default=None, foreign_key="app_user.id")
    principal: str
    idempotency_key: str = Field(max_length=255)
    request_hash: str
    asset: str = Field(foreign_key="asset.code")
    amount_minor: int | None = minor_units(nullable=True)
    """Null: the payer chooses."""
    note: str | None = Field(default=None, max_length=200)
    status: str
    """As it was last changed; ``domain.transfers.present_status`` says whether it ran out."""
    expires_at: datetime = timestamp()
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()

    __table_args__ = (
        UniqueConstraint("principal", "idempotency_key", name="money_request_idempotency"),
        Index("money_request_sent", "user_id", "created_at", "id"),
        Index("money_request_received", "payer_id", "created_at", "id"),
        CheckConstraint("payer_id <> user_id", name="money_request_parties"),
        CheckConstraint("amount_minor > 0", name="money_request_amount"),
    )


class Transfer(SQLModel, table=True):
    """Money that went from one user to another; written by ``transfer_make`` alone."""

    __tablename__ = "transfer"

    id: str = Field(primary_key=True)
    """Derived from the caller and the Idempotency-Key."""
    user_id: str = Field(foreign_key="app_user.id")
    """Who sent it."""
    recipient_id: str = Field(foreign_key="app_user.id")
    principal: str
    idempotency_key: str = Field(max_length=255)
    request_hash: str
    asset: str = Field(foreign_key="asset.code")
    amount_minor: int = minor_units()
    fee_minor: int = minor_units(default=0)
    """Always 0: it costs nothing."""
    note: str | None = Field(default=None, max_length=200)
    sender_handle: str | None = Field(default=None, max_length=30)
    """As it was then; a handle may have gone to somebody else since."""
    recipient_handle: str | None = Field(default=None, max_length=30)
    money_request_id: str | None = Field(default=None, foreign_key="money_request.id", unique=True)
    second_factor: str
    """How the sender proved it: ``totp`` or ``step_up``."""
    status: str
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()

    __table_args__ = (
        UniqueConstraint("principal", "idempotency_key", name="transfer_idempotency"),
        Index("transfer_list", "created_at", "id"),
        Index("transfer_of_sender", "user_id", "created_at", "id"),
        Index("transfer_of_recipient", "recipient_id", "created_at", "id"),
        CheckConstraint("user_id <> recipient_id", name="transfer_parties"),
        CheckConstraint("amount_minor > 0 AND fee_minor = 0", name="transfer_amount"),
    )


class TransferEvent(SQLModel, table=True):
    """A line of a transfer's history; never changed."""

    __tablename__ = "transfer_event"

    id: int | None = Field(default=None, primary_key=True)
    transfer_id: str = Field(foreign_key="transfer.id", index=True)
    status: str
    detail: str | None = None
    at: datetime = timestamp()
