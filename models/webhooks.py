"""Webhooks: where events are sent to, each delivery, each attempt, and how far dispatch got."""

from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, Column, Identity, Index, LargeBinary, String, text
from sqlmodel import Field, SQLModel

from models.columns import timestamp
from models.events import TransactionId


class WebhookEndpoint(SQLModel, table=True):
    """An address of a user that their events are sent to."""

    __tablename__ = "webhook_endpoint"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id")
    url: str = Field(max_length=2_000)
    """It may hold a token of the receiver's: shown to its user alone, and in no log."""
    description: str | None = Field(default=None, max_length=200)
    kinds: list[str] = Field(sa_column=Column(ARRAY(String), nullable=False))
    """What it gets: names of kinds, ``payout.*``, or ``*``."""
    sealed_secret: bytes = Field(sa_type=LargeBinary)
    """What messages are signed with, sealed; see ``webhooks.secrets``."""
    previous_sealed_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    previous_secret_until: datetime | None = timestamp(nullable=True)
    """Until then messages are signed with both."""
    failing_since: datetime | None = timestamp(nullable=True)
    """The first failure since anything was taken."""
    disabled_at: datetime | None = timestamp(nullable=True)
    disabled_reason: str | None = None
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()
    removed_at: datetime | None = timestamp(nullable=True)

    __table_args__ = (
        Index(
            "webhook_endpoint_of_user",
            "user_id",
            "created_at",
            "id",
            postgresql_where=text("removed_at IS NULL"),
        ),
    )


class WebhookDelivery(SQLModel, table=True):
    """One event to one endpoint: once by dispatch, and again as often as its user asks."""

    __tablename__ = "webhook_delivery"

    id: str = Field(primary_key=True)
    endpoint_id: str = Field(foreign_key="webhook_endpoint.id")
    event_id: str = Field(foreign_key="outbox_event.id")
    kind: str
    """The event's."""
    redelivery_of: str | None = Field(default=None, foreign_key="webhook_delivery.id")
    is_manual: bool = False
    """Somebody asked for it: a ping, or once more."""
    status: str
    attempts: int = 0
    next_attempt_at: datetime | None = timestamp(nullable=True)
    created_at: datetime = timestamp()
    started_at: datetime | None = timestamp(nullable=True)
    """Since when its workflow runs for certain."""
    ended_at: datetime | None = timestamp(nullable=True)

    __table_args__ = (
        Index(
            "webhook_delivery_once",
            "endpoint_id",
            "event_id",
            unique=True,
            postgresql_where=text("redelivery_of IS NULL"),
        ),
        Index("webhook_delivery_list", "endpoint_id", "created_at", "id"),
        Index(
            "webhook_delivery_unstarted",
            "created_at",
            postgresql_where=text("started_at IS NULL"),
        ),
        Index(
            "webhook_delivery_pending",
            "created_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "webhook_delivery_manual",
            "endpoint_id",
            postgresql_where=text("is_manual AND status = 'pending'"),
        ),
    )


class WebhookAttempt(SQLModel, table=True):
    """One try at a delivery, never changed."""

    __tablename__ = "webhook_attempt"

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    delivery_id: str = Field(foreign_key="webhook_delivery.id")
    number: int
    at: datetime = timestamp()
    duration_ms: int
    status_code: int | None = None
    error: str | None = None
    """Why there was no answer, or none that counts."""
    answer: str = ""
    """The beginning of what the endpoint said."""

    __table_args__ = (Index("webhook_attempt_once", "delivery_id", "number", unique=True),)


class WebhookCursor(SQLModel, table=True):
    """Up to where dispatch has read the outbox; there is one row."""

    __tablename__ = "webhook_cursor"

    id: int = Field(primary_key=True)
    xid: int = Field(sa_column=Column(TransactionId, nullable=False))
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
