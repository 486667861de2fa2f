"""Mixers, the mixes they make, and what is kept of them for operators."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import minor_units, timestamp


class Mixer(SQLModel, table=True):
    """Who mixes one asset, on terms of its own; its house is a part of the chain's hot wallet."""

    __tablename__ = "mixer"

    id: str = Field(primary_key=True)
    name: str = Field(max_length=100)
    chain_id: str = Field(foreign_key="chain.id")
    asset: str = Field(foreign_key="asset.code")
    policy: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """For mixes to come; see ``domain.mixing.policy``."""
    task_queue: str
    status: str
    checked_at: datetime | None = timestamp(nullable=True)
    """When its books were last compared."""
    imbalance_minor: int = minor_units(default=0)
    """By how much its house was off then, in either direction."""
    created_by: str | None = None
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class Mix(SQLModel, table=True):
    """One user's wish that what comes to one address leaves to others, unlinkably."""

    __tablename__ = "mix"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id")
    principal: str
    idempotency_key: str = Field(max_length=255)
    request_hash: str
    mixer_id: str = Field(foreign_key="mixer.id")
    chain_id: str = Field(foreign_key="chain.id")
    asset: str = Field(foreign_key="asset.code")
    address_id: str = Field(foreign_key="chain_address.id", unique=True)
    policy: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """As it was when the mix was opened."""
    parts_asked: int
    status: str
    reason_code: str | None = None
    expires_at: datetime = timestamp()
    is_cancelled: bool = False
    paused_at: datetime | None = timestamp(nullable=True)
    """Since when its user lets nothing leave."""
    hold_kind: str | None = None
    """Why operators, or we ourselves, let nothing leave; see ``HoldKind``."""
    held_at: datetime | None = timestamp(nullable=True)
    held_by: str | None = None
    """User id of the operator; null where we did ourselves."""
    received_minor: int = minor_units(default=0)
    """What was taken to be mixed."""
    fee_minor: int = minor_units(default=0)
    doled_minor: int = minor_units(default=0)
    """What was released to be paid out."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()

    __table_args__ = (
        UniqueConstraint("principal", "idempotency_key", name="mix_idempotency"),
        Index("mix_list", "created_at", "id"),
        Index("mix_of_user", "user_id", "created_at", "id"),
        Index("mix_of_mixer", "mixer_id", "status"),
    )


class MixAddress(SQLModel, table=True):
    """A withdrawal address of a mix: given once, to anybody, for ever."""

    __tablename__ = "mix_address"

    chain_id: str = Field(primary_key=True, foreign_key="chain.id")
    address_hash: str = Field(primary_key=True)
    """SHA-256 of the canonical form; it stays when the address itself is purged."""
    mix_id: str = Field(foreign_key="mix.id", index=True)
    address: str | None = None


class MixLot(SQLModel, table=True):
    """One deposit of a mix, and what became of it."""

    __tablename__ = "mix_lot"

    deposit_id: str = Field(primary_key=True, foreign_key="chain_deposit.id")
    mix_id: str = Field(foreign_key="mix.id", index=True)
    amount_minor: int = minor_units()
    fee_minor: int = minor_units()
    status: str
    reason_code: str | None = None
    """Why it was not mixed."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class MixDole(SQLModel, table=True):
    """One part of a mix: how much leaves, when and where to. Drawn once, written once."""

    __tablename__ = "mix_dole"

    id: str = Field(primary_key=True)
    mix_id: str = Field(foreign_key="mix.id")
    deposit_id: str = Field(foreign_key="mix_lot.deposit_id", index=True)
    amount_minor: int = minor_units()
    due_at: datetime = timestamp()
    address: str | None = None
    """Null once it was purged."""
    status: str
    payout_id: str | None = Field(default=None, foreign_key="payout.id", unique=True)
    created_at: datetime = timestamp()

    __table_args__ = (
        Index("mix_dole_due", "mix_id", "due_at", postgresql_where=text("status = 'planned'")),
        Index("mix_dole_of_mix", "mix_id", "due_at", "id"),
    )


class MixEvent(SQLModel, table=True):
    """A line of a mix's history; never changed."""

    __tablename__ = "mix_event"

    id: int | None = Field(default=None, primary_key=True)
    mix_id: str = Field(foreign_key="mix.id", index=True)
    status: str
    detail: str | None = None
    at: datetime = timestamp()


class MixAudit(SQLModel, table=True):
    """A line of a mix's audit trail: sealed, for operators alone, and purged when it is time."""

    __tablename__ = "mix_audit"

    id: str = Field(primary_key=True)
    mix_id: str = Field(foreign_key="mix.id", index=True)
    sealed: bytes = Field(sa_type=LargeBinary)
    keep_until: datetime = timestamp(index=True)
    at: datetime = timestamp()
