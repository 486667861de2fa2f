"""Limits: versions of the table, and what a user has used of theirs."""

from datetime import datetime

from pydantic import Field

from api.schemas.base import Answer
from domain.limits import LimitsDocument, LimitStanding, Operation, Window


class LimitsView(Answer):
    """A stored version of the limits document."""

    version: int
    document: LimitsDocument
    created_by: str | None
    created_at: datetime


class LimitsList(Answer):
    """A page of versions, newest first."""

    items: list[LimitsView]
    next_cursor: str | None = None


class CountView(Answer):
    """How many operations."""

    cap: int
    used: int
    remaining: int


class AmountView(Answer):
    """How much, in minor units of the asset as decimal strings."""

    cap: str
    used: str
    remaining: str


class LimitStandingView(Answer):
    """What the caller has used of one limit, and what remains."""

    operation: Operation
    asset: str = Field(description="Asset code, or * for all assets counted together.")
    window: Window = Field(description="How far back it looks from each moment.")
    count: CountView | None = Field(description="Null where only amounts are limited.")
    amount: AmountView | None = Field(description="Null where only the number is limited.")
    renews_at: datetime | None = Field(
        description="When the oldest use leaves the window and more remains; null: nothing is used."
    )

    @classmethod
    def of(cls, standing: LimitStanding) -> "LimitStandingView":
        """Return a limit's standing as the API shows it."""
        limit = standing.limit
        count = amount = None
        if limit.count is not None:
            remaining = standing.remaining_count or 0
            count = CountView(cap=limit.count, used=standing.used_count, remaining=remaining)
        if limit.amount_minor is not None:
            amount = AmountView(
                cap=str(limit.amount_cap_minor),
                used=str(standing.used_minor or 0),
                remaining=str(standing.remaining_minor or 0),
            )
        return cls(
            operation=limit.operation,
            asset=limit.asset,
            window=limit.window,
            count=count,
            amount=amount,
            renews_at=standing.renews_at,
        )
