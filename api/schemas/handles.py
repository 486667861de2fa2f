"""Handles, and who is behind them, as the API speaks of them."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.schemas.base import ULID_PATTERN, Answer, StrictModel
from domain.ids import USER
from domain.transfers import HANDLE_COOLDOWN, HANDLE_PATTERN
from models.transfers import UserHandle
from transfers.lookups import Party

RECIPIENT_PATTERN = rf"^({USER}_{ULID_PATTERN}|@[A-Za-z0-9_]{{3,30}})$"

RecipientText = Annotated[str, Field(pattern=RECIPIENT_PATTERN, examples=["@ada"])]


class HandleBody(StrictModel):
    """The handle that the caller wants."""

    handle: str = Field(
        pattern=HANDLE_PATTERN,
        description="Without the @; upper and lower case are shown, and count as the same.",
        examples=["ada"],
    )


class HandleView(Answer):
    """The caller's handle."""

    handle: str = Field(examples=["ada"])
    link: str = Field(description="What a QR code of it holds.", examples=["strongroom:@ada"])
    claimed_at: datetime
    changeable_from: datetime = Field(description="Another may be chosen from then on.")

    @classmethod
    def of(cls, row: UserHandle, *, link: str) -> "HandleView":
        """Return a handle as its user sees it."""
        return cls(
            handle=row.shown,
            link=link,
            claimed_at=row.claimed_at,
            changeable_from=row.claimed_at + HANDLE_COOLDOWN,
        )


class RecipientView(Answer):
    """Somebody who can be paid: what a sender is shown, and no more."""

    handle: str | None = Field(description="Null: this user has chosen none.", examples=["ada"])
    masked_name: str = Field(examples=["a***"])

    @classmethod
    def of(cls, party: Party) -> "RecipientView":
        """Return a user as somebody sees them who is about to pay."""
        return cls(handle=party.handle, masked_name=party.masked_name)
