"""Transfers between users as the API speaks of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from api.schemas.handles import RECIPIENT_PATTERN
from api.schemas.payouts import AmountText, AssetText, EventView
from domain.ids import MONEY_REQUEST, TRANSFER
from domain.payment_links import LINK_LENGTH_MAX
from domain.transfers import NOTE_LENGTH_MAX, TransferStatus
from models.transfers import Transfer, TransferEvent

TransferIdText = Annotated[
    str, Field(pattern=id_pattern(TRANSFER), examples=["tfr_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]
MoneyRequestIdText = Annotated[
    str, Field(pattern=id_pattern(MONEY_REQUEST), examples=["mrq_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]
NoteText = Annotated[
    str, Field(max_length=NOTE_LENGTH_MAX, description="Plain text.", examples=["for lunch"])
]
TransferSide = Literal["both", "sent", "received"]

TARGET_PATTERN = RECIPIENT_PATTERN.removesuffix("$") + r"|^strongroom:[!-~]+$"


class TransferBody(StrictModel):
    """A request to send money to another user."""

    to: str = Field(
        pattern=TARGET_PATTERN,
        max_length=LINK_LENGTH_MAX,
        description="User id, @handle, or a `strongroom:` link as a QR code holds it.",
        examples=["@ada"],
    )
    asset: AssetText | None = Field(default=None, description="Left out where the link says it.")
    amount: AmountText | None = Field(default=None, description="Left out where the link says it.")
    note: NoteText | None = None


class PaymentBody(StrictModel):
    """A payment of a money request; what the request says need not be said again."""

    asset: AssetText | None = None
    amount: AmountText | None = Field(
        default=None, description="Required where the request leaves it to the payer."
    )
    note: NoteText | None = None


class PartyView(Answer):
    """One side of a transfer."""

    user_id: UserIdText
    handle: str | None = Field(description="As it was when the money moved.")


class TransferView(Answer):
    """A transfer in a list."""

    id: TransferIdText
    sender: PartyView
    recipient: PartyView
    asset: str
    amount: AmountText
    fee: Literal["0"] = Field(default="0", description="Transfers cost nothing.")
    note: str | None
    money_request_id: MoneyRequestIdText | None = Field(description="What it paid.")
    status: TransferStatus
    created_at: datetime


class TransferDetailView(TransferView):
    """A transfer with its history."""

    history: list[EventView]


def transfer_view(row: Transfer) -> TransferView:
    """Return a transfer as it appears in lists."""
    return TransferView(
        id=row.id,
        sender=PartyView(user_id=row.user_id, handle=row.sender_handle),
        recipient=PartyView(user_id=row.recipient_id, handle=row.recipient_handle),
        asset=row.asset,
        amount=str(row.amount_minor),
        note=row.note,
        money_request_id=row.money_request_id,
        status=TransferStatus(row.status),
        created_at=row.created_at,
    )


def transfer_detail_view(row: Transfer, events: Sequence[TransferEvent]) -> TransferDetailView:
    """Return a transfer with its history."""
    return TransferDetailView(
        **transfer_view(row).model_dump(),
        history=[EventView(status=e.status, detail=e.detail, at=e.at) for e in events],
    )
