"""The ledger's tables. Nothing but the function ``ledger_post`` writes them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import minor_units, timestamp


class LedgerAccount(SQLModel, table=True):
    """A place where an asset is counted."""

    __tablename__ = "ledger_account"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    code: str
    """Such as ``user:usr_…:available`` or ``omnibus:eip155:1:hot``."""
    asset: str
    normal_side: str
    """``credit`` for what we owe, ``debit`` for what we own."""
    balance_minor: int = minor_units(default=0)
    """Credits minus debits."""
    is_floored: bool = False
    """A customer's account: the database refuses to let its balance fall below its floor."""
    floor_minor: int = minor_units(default=0)
    """Zero, or below it what the reversal of a deposit has left to be paid back."""
    version: int = 0
    """Count of its entries."""

    __table_args__ = (
        UniqueConstraint("code", "asset", name="ledger_account_code"),
        CheckConstraint("NOT is_floored OR balance_minor >= floor_minor", name="balance_floor"),
    )


class LedgerTransaction(SQLModel, table=True):
    """A balanced, immutable set of entries."""

    __tablename__ = "ledger_transaction"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    key: str = Field(unique=True)
    """Idempotency key: ``{workflow id}:{step}``."""
    rule: str
    """Name of the posting rule."""
    resource: str | None = Field(default=None, index=True)
    """Id of what it is about, such as a payout."""
    reverses: int | None = Field(default=None, sa_column=Column(BigInteger, unique=True))
    content_hash: str
    """What the key stands for; the same key with other entries is a conflict."""
    effective_at: datetime = timestamp()
    recorded_at: datetime = timestamp()

    __table_args__ = (Index("ledger_transaction_recorded", "recorded_at"),)


class LedgerEntry(SQLModel, table=True):
    """One line of a ledger transaction; positive credits the account, negative debits it."""

    __tablename__ = "ledger_entry"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    transaction_id: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    account_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    asset: str
    amount_minor: int = minor_units()
    balance_after_minor: int = minor_units()
    account_version: int
    effective_at: datetime = timestamp()

    __table_args__ = (
        Index("ledger_entry_statement", "account_id", "account_version"),
        Index("ledger_entry_as_of", "account_id", "effective_at"),
    )


class HoldStatus(StrEnum):
    """A hold is placed, then ends once."""

    PLACED = "placed"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"


class Hold(SQLModel, table=True):
    """Money set aside for one purpose: it sits on the ``held`` account of its owner."""

    __tablename__ = "hold"

    id: str = Field(primary_key=True)
    owner: str
    """User id."""
    asset: str
    pocket: str | None = None
    """Chain id of the user's pocket that it holds money of; null: of the off-chain balance."""
    amount_minor: int = minor_units()
    captured_minor: int = minor_units(default=0)
    released_minor: int = minor_units(default=0)
    """What was given back part by part; a hold that ends at one go leaves it at 0."""
    status: str = HoldStatus.PLACED
    expires_at: datetime | None = timestamp(nullable=True)
    limits: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSONB, nullable=False)
    )
    """Counters raised with it, to be given back with it."""
    placed_at: datetime = timestamp()
    ended_at: datetime | None = timestamp(nullable=True)


class LimitCounter(SQLModel, table=True):
    """What one subject used of one limit in one window."""

    __tablename__ = "limit_counter"

    subject: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    window_start: datetime = Field(primary_key=True, sa_type=timestamp().sa_type)
    amount_minor: int = minor_units(default=0)
    count: int = 0


class AuditLink(SQLModel, table=True):
    """A link of the hash chain over ledger transactions and decisions."""

    __tablename__ = "audit_chain"

    sequence: int = Field(sa_column=Column(BigInteger, primary_key=True))
    kind: str
    """``ledger`` or ``decision``."""
    reference: str
    content_hash: str
    """SHA-256 of the row it covers, hex."""
    hash: str
    """SHA-256 of the previous link's hash and ``content_hash``, hex."""
