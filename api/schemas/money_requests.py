"""Money requests as the API speaks of them."""

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from api.schemas.base import Answer, StrictModel, UserIdText
from api.schemas.handles import RecipientText
from api.schemas.payouts import AmountText, AssetText
from api.schemas.transfers import MoneyRequestIdText, NoteText, TransferIdText
from domain.payment_links import PaymentLink
from domain.transfers import (
    REQUEST_LIFETIME,
    REQUEST_LIFETIME_MAX,
    MoneyRequestStatus,
    Recipient,
    canonical_handle,
    present_status,
)
from transfers.queries import FoundRequest

RequestSide = Literal["both", "sent", "received"]
_SECOND = timedelta(seconds=1)


class MoneyRequestBody(StrictModel):
    """A request for money."""

    payer: RecipientText | None = Field(
        default=None,
        description="Who is asked: a user id or @handle. Null: whoever has the link, once.",
    )
    asset: AssetText
    amount: AmountText | None = Field(default=None, description="Null: the payer chooses.")
    note: NoteText | None = None
    expires_in_s: int = Field(
        default=REQUEST_LIFETIME // _SECOND,
        ge=60,
        le=REQUEST_LIFETIME_MAX // _SECOND,
        description="How long it can be paid, in seconds.",
    )


class RequestPartyView(Answer):
    """One side of a money request."""

    user_id: UserIdText
    handle: str | None = Field(description="As it is now.")


class MoneyRequestView(Answer):
    """A request for money, by somebody who may see it."""

    id: MoneyRequestIdText
    requester: RequestPartyView
    payer: RequestPartyView | None = Field(
        description="Who is asked, or who paid. Null: whoever has the link; or not yours to know."
    )
    asset: str
    amount: AmountText | None = Field(description="Null: the payer chooses.")
    note: str | None
    status: MoneyRequestStatus
    transfer_id: TransferIdText | None = Field(description="What paid it; for its parties alone.")
    link: str = Field(
        description="What its QR code holds.",
        examples=["strongroom:@ada?asset=ETH&request=mrq_01JD3ZQ6V9K3E8M5T2R7W4X1YB"],
    )
    expires_at: datetime
    created_at: datetime
    updated_at: datetime


def money_request_view(found: FoundRequest, *, reader_id: str, now: datetime) -> MoneyRequestView:
    """Return a money request as this reader may see it."""
    row = found.row
    payer_id = row.payer_id or found.paid_by
    is_party = reader_id in (row.user_id, payer_id)
    payer = RequestPartyView(user_id=payer_id, handle=found.payer_handle) if payer_id else None
    return MoneyRequestView(
        id=row.id,
        requester=RequestPartyView(user_id=row.user_id, handle=found.requester_handle),
        payer=payer if is_party else None,
        asset=row.asset,
        amount=None if row.amount_minor is None else str(row.amount_minor),
        note=row.note,
        status=present_status(row.status, expires_at=row.expires_at, now=now),
        transfer_id=found.transfer_id if is_party else None,
        link=link_of(found),
        expires_at=row.expires_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def link_of(found: FoundRequest) -> str:
    """Return the link that pays this money request."""
    row, handle = found.row, found.requester_handle
    requester = (
        Recipient(user_id=row.user_id)
        if handle is None
        else Recipient(handle=canonical_handle(handle))
    )
    return str(PaymentLink(requester, row.asset, row.amount_minor, row.id))
