"""
Limits by level: how often, and how much, a user may move in rolling windows. Pure.

The document is a table, kept in versions. A row caps one operation of the users of one level, of
one asset or of all together, in the 24 hours or the 30 days that end now. What no row names is not
capped.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from domain.errors import InvalidLimitsError

ANY_ASSET: Final = "*"
UNVERIFIED_LEVEL: Final = 0
LEVEL_MAX: Final = 3
"""KYC levels are 0 for the unverified, then 1, 2 and 3."""
ROWS_MAX: Final = 1_000


class Operation(StrEnum):
    """What a limit counts."""

    SEND = "send"
    """Off-chain, from one user to another."""
    SEND_ONCHAIN = "send_onchain"
    """From a user's own pocket on a chain to an address there."""
    PURCHASE = "purchase"
    PAYOUT = "payout"
    """From the off-chain balance to an address on a chain."""
    MIX = "mix"
    """Each deposit that a mixer takes."""


class Window(StrEnum):
    """How far back a limit looks from each moment."""

    DAY = "24h"
    MONTH = "30d"

    @property
    def length(self) -> timedelta:
        """Return it as a span of time; what is exactly that old is out of it."""
        return timedelta(hours=24) if self is Window.DAY else timedelta(days=30)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limit(_Document):
    """One row of the table."""

    level: int = Field(
        ge=UNVERIFIED_LEVEL, le=LEVEL_MAX, strict=True, description="KYC level of the user."
    )
    operation: Operation
    asset: str = Field(
        min_length=1,
        max_length=32,
        examples=["ETH"],
        description="Asset code, or * for all assets counted together.",
    )
    window: Window
    count: int | None = Field(
        default=None,
        ge=0,
        le=2**31 - 1,
        strict=True,
        description="Most operations in the window; null: any.",
    )
    amount_minor: str | None = Field(
        default=None,
        pattern=r"^[0-9]{1,78}$",
        description="Most in the window, in minor units without fees; null: any.",
    )

    @model_validator(mode="after")
    def _limits_something(self) -> "Limit":
        if self.count is None and self.amount_minor is None:
            msg = "A limit needs count or amount_minor."
            raise ValueError(msg)
        if self.asset == ANY_ASSET and self.amount_minor is not None:
            msg = "Amounts of different assets do not add up: an amount limits one asset."
            raise ValueError(msg)
        return self

    @property
    def amount_cap_minor(self) -> int | None:
        """The most in the window as a number, or None."""
        return None if self.amount_minor is None else int(self.amount_minor)

    @property
    def name(self) -> str:
        """What it is called where it is shown, such as ``payout:ETH:24h``."""
        return f"{self.operation}:{self.asset}:{self.window}"

    def counts(self, asset: str) -> bool:
        """Tell whether operations in this asset count against it."""
        return self.asset in (ANY_ASSET, asset)


class LimitsDocument(_Document):
    """The whole table, as stored with its version."""

    limits: tuple[Limit, ...] = Field(default=(), max_length=ROWS_MAX)

    @field_validator("limits")
    @classmethod
    def _once(cls, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        seen: set[tuple[int, str]] = set()
        for limit in limits:
            if (limit.level, limit.name) in seen:
                msg = f"Level {limit.level} has {limit.name} twice; write it as one row."
                raise ValueError(msg)
            seen.add((limit.level, limit.name))
        return limits


@dataclass(frozen=True, slots=True)
class LimitStanding:
    """How much of one limit is used, and when more of it will be free."""

    limit: Limit
    used_count: int
    used_minor: int | None
    """In minor units; None where the limit counts every asset."""
    renews_at: datetime | None
    """When the oldest use leaves the window and more remains; None where nothing is used."""

    @property
    def remaining_count(self) -> int | None:
        """How many operations may still follow now; None: any number."""
        return None if self.limit.count is None else max(0, self.limit.count - self.used_count)

    @property
    def remaining_minor(self) -> int | None:
        """How much may still follow now, in minor units; None: any amount."""
        cap_minor = self.limit.amount_cap_minor
        return None if cap_minor is None else max(0, cap_minor - (self.used_minor or 0))


def parse_limits(raw: object) -> LimitsDocument:
    """
    Return the table that this JSON value describes.

    Raises:
        InvalidLimitsError: Malformed, an amount for several assets, or a row that is there twice.
    """
    try:
        return LimitsDocument.model_validate(raw)
    except ValueError as error:
        raise InvalidLimitsError(str(error)) from error
