"""The outbox: what is told to users, written in the unit of work that brought it about."""

from datetime import datetime
from typing import Any, override

from sqlalchemy import BigInteger, Column, FetchedValue, Identity, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType
from sqlmodel import Field, SQLModel

from models.columns import timestamp


class TransactionId(UserDefinedType[int]):
    """``xid8``: the number of a database transaction, which never comes again. ``int`` here."""

    cache_ok = True

    @override
    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name."""
        return "xid8"

    @override
    def bind_processor(self, dialect: Any) -> Any:
        """Send it as text, which PostgreSQL reads as what it is compared with."""
        return lambda value: None if value is None else str(value)

    @override
    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        """Read the text that the driver makes of a type it does not know."""
        return lambda value: None if value is None else int(value)


class OutboxEvent(SQLModel, table=True):
    """
    One event, never changed.

    Neither ``seq`` nor ``xid`` alone is an order to read by: both are given out before the commit,
    and what has a lower number may be committed later. ``events.outbox`` knows how.
    """

    __tablename__ = "outbox_event"

    id: str = Field(primary_key=True)
    seq: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False)
    )
    xid: int | None = Field(
        default=None, sa_column=Column(TransactionId, FetchedValue(), nullable=False)
    )
    """The database transaction that wrote it: ``pg_current_xact_id()``, set by the database."""
    user_id: str = Field(foreign_key="app_user.id")
    kind: str
    """One of ``domain.events.KINDS``."""
    resource_id: str
    data: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    at: datetime = timestamp()

    __table_args__ = (
        Index("outbox_event_order", "xid", "seq", unique=True),
        Index("outbox_event_of_user", "user_id", "xid", "seq"),
    )
