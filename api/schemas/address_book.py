"""Address books as the API speaks of them."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.schemas.base import Answer, StrictModel, id_pattern
from api.schemas.chains import CHAIN_ID_PATTERN
from domain.ids import BOOK_ENTRY
from models.runs import AddressBookEntry, PayoutPreference
from payouts.book import is_book_only

ADDRESS_EXAMPLE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

EntryIdText = Annotated[
    str, Field(pattern=id_pattern(BOOK_ENTRY), examples=["bok_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]


class BookEntryBody(StrictModel):
    """A destination to be named."""

    chain_id: str = Field(pattern=CHAIN_ID_PATTERN, examples=["eip155:1"])
    address: str = Field(min_length=1, max_length=128, examples=[ADDRESS_EXAMPLE])
    name: str = Field(min_length=1, max_length=100, examples=["exchange"])


class BookEntryView(Answer):
    """A destination that the caller named."""

    id: EntryIdText
    chain_id: str
    address: str
    name: str
    usable_from: datetime = Field(description="End of the cool-down.")
    created_at: datetime

    @classmethod
    def of(cls, entry: AddressBookEntry) -> "BookEntryView":
        """Return an entry as the API shows it."""
        return cls(
            id=entry.id,
            chain_id=entry.chain_id,
            address=entry.address,
            name=entry.name,
            usable_from=entry.usable_from,
            created_at=entry.created_at,
        )


class PreferenceBody(StrictModel):
    """Whether only addresses of the book are paid."""

    book_only: bool


class PreferenceView(Answer):
    """What the caller asked for, and what holds now."""

    book_only: bool = Field(description="What was asked for last.")
    in_force: bool = Field(description="Only addresses of the book are paid at this moment.")
    until: datetime | None = Field(
        description="Switched off, it holds until then; null while it is on, or never was."
    )

    @classmethod
    def of(cls, preference: PayoutPreference | None, *, now: datetime) -> "PreferenceView":
        """Return a preference as the API shows it."""
        return cls(
            book_only=preference is not None and preference.is_book_only,
            in_force=is_book_only(preference, now=now),
            until=preference.book_only_until if preference else None,
        )
