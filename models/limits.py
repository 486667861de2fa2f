"""The table of limits in its versions, and what was used of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import minor_units, timestamp


class LimitsVersion(SQLModel, table=True):
    """A version of the table of limits; added, never changed; part of the hash chain."""

    __tablename__ = "limits_version"

    version: int | None = Field(default=None, primary_key=True)
    document: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_by: str | None = None
    created_at: datetime = timestamp()


class LimitLock(SQLModel, table=True):
    """One row per user and operation: whoever reserves holds it until the commit."""

    __tablename__ = "limit_lock"

    user_id: str = Field(primary_key=True, foreign_key="app_user.id")
    operation: str = Field(primary_key=True)
    reservations: int = Field(default=1, sa_column=Column(BigInteger, nullable=False))
    """How often it was taken."""


class LimitUsage(SQLModel, table=True):
    """
    A reservation, or what was given back of one; never changed.

    What is given back has the moment of its reservation, so that both leave a window together, and
    any window's sum is what is in use.
    """

    __tablename__ = "limit_usage"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    key: str = Field(unique=True)
    """What it stands for: the same is reserved, or given back, once."""
    user_id: str = Field(foreign_key="app_user.id")
    operation: str
    asset: str
    amount_minor: int = minor_units()
    """Negative where it is given back."""
    times: int
    """How many operations; negative where they are given back."""
    hold_id: str | None = None
    """The hold whose release gives it back."""
    resource_id: str
    at: datetime = timestamp()
    recorded_at: datetime = timestamp()

    __table_args__ = (
        Index(
            "limit_usage_window",
            "user_id",
            "operation",
            "at",
            postgresql_include=["asset", "amount_minor", "times"],
        ),
        Index("limit_usage_of_hold", "hold_id"),
        Index("limit_usage_of_resource", "resource_id"),
    )
