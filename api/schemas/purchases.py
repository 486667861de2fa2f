"""Purchases as the API speaks of them."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.payment_uris import payment_uri
from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from api.schemas.payouts import AmountText
from api.schemas.rates import QuoteIdText
from deposits.addresses import DepositAddress
from domain.ids import PURCHASE, PURCHASE_REFUND
from domain.purchases import PaymentMethod, PurchaseStatus, RefundReason, RefundStatus
from models.purchases import Purchase
from purchases.queries import PurchaseDetail

PurchaseIdText = Annotated[
    str, Field(pattern=id_pattern(PURCHASE), examples=["pur_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]


class PurchaseBody(StrictModel):
    """A request to buy what a quote says."""

    quote_id: QuoteIdText


class PurchaseRefundBody(StrictModel):
    """What an operator gives back."""

    amount: AmountText
    note: str | None = Field(default=None, max_length=500, examples=["paid twice"])


class PurchaseView(Answer):
    """A purchase in a list."""

    id: PurchaseIdText
    user_id: UserIdText
    quote_id: QuoteIdText
    method: PaymentMethod
    asset: str = Field(description="What is bought.")
    amount: str = Field(description="How much of it was quoted, in minor units.")
    credited: str = Field(description="How much of it is credited now.")
    pay_asset: str
    pay_amount: str = Field(description="What is to be paid for it.")
    paid: str = Field(description="What was paid and converted.")
    spread: str = Field(description="What spread and rounding cost; it is in the rate.")
    status: PurchaseStatus
    reason_code: str | None
    expires_at: datetime = Field(description="What is seen after this is late.")
    created_at: datetime
    updated_at: datetime


class PayAtView(Answer):
    """An address that only this purchase is paid at."""

    chain_id: str
    address: str
    payment_uri: str = Field(description="What its QR code says; it names no amount.")


class CardView(Answer):
    """What a browser pays with, through the gateway's own script."""

    status: str
    publishable_key: str
    client_secret: str | None = Field(
        description="Only for the buyer, while the purchase is open; null while it is set up."
    )


class PurchasePaymentView(Answer):
    """A deposit that was made for it."""

    deposit_id: str
    amount: str
    converted: str = Field(description="What of it bought something; the rest is plain balance.")
    is_late: bool
    is_booked: bool = Field(description="False: a reorg took it away.")


class PurchaseRefundView(Answer):
    """A payment that is given back."""

    id: Annotated[str, Field(pattern=id_pattern(PURCHASE_REFUND))]
    amount: str
    reason: RefundReason
    status: RefundStatus
    note: str | None
    created_at: datetime


class PurchaseEventView(Answer):
    """A line of the purchase's history."""

    status: str
    detail: str | None
    at: datetime


class PurchaseDetailView(PurchaseView):
    """A purchase with where it is paid and everything about it."""

    pay_at: PayAtView | None
    card: CardView | None
    payments: list[PurchasePaymentView]
    refunds: list[PurchaseRefundView]
    history: list[PurchaseEventView]
    workflow_id: str
    workflow_url: str | None


class PurchaseOutcomeView(Answer):
    """Where the purchase stands after an action."""

    purchase_id: PurchaseIdText
    status: PurchaseStatus


def purchase_view(purchase: Purchase) -> PurchaseView:
    """Return a purchase as a list shows it."""
    return PurchaseView(**_fields(purchase))


def purchase_detail_view(
    detail: PurchaseDetail, *, publishable_key: str, workflow_id: str, workflow_url: str | None
) -> PurchaseDetailView:
    """Return everything about a purchase."""
    card = detail.card
    return PurchaseDetailView(
        **_fields(detail.purchase),
        pay_at=_pay_at(detail.address) if detail.address else None,
        card=None
        if card is None
        else CardView(
            status=card.status,
            publishable_key=publishable_key,
            client_secret=detail.client_secret,
        ),
        payments=[
            PurchasePaymentView(
                deposit_id=p.deposit_id,
                amount=str(p.amount_minor),
                converted=str(p.converted_minor),
                is_late=p.is_late,
                is_booked=p.is_booked,
            )
            for p in detail.payments
        ],
        refunds=[
            PurchaseRefundView(
                id=r.id,
                amount=str(r.amount_minor),
                reason=RefundReason(r.reason),
                status=RefundStatus(r.status),
                note=r.note,
                created_at=r.created_at,
            )
            for r in detail.refunds
        ],
        history=[
            PurchaseEventView(status=e.status, detail=e.detail, at=e.at) for e in detail.events
        ],
        workflow_id=workflow_id,
        workflow_url=workflow_url,
    )


def _pay_at(address: DepositAddress) -> PayAtView:
    return PayAtView(
        chain_id=address.chain.id,
        address=address.row.address,
        payment_uri=payment_uri(address),
    )


def _fields(purchase: Purchase) -> dict[str, object]:
    return {
        "id": purchase.id,
        "user_id": purchase.user_id,
        "quote_id": purchase.quote_id,
        "method": PaymentMethod(purchase.method),
        "asset": purchase.asset,
        "amount": str(purchase.amount_minor),
        "credited": str(purchase.credited_minor),
        "pay_asset": purchase.pay_asset,
        "pay_amount": str(purchase.pay_minor),
        "paid": str(purchase.converted_minor),
        "spread": str(purchase.fee_minor),
        "status": PurchaseStatus(purchase.status),
        "reason_code": purchase.reason_code,
        "expires_at": purchase.expires_at,
        "created_at": purchase.created_at,
        "updated_at": purchase.updated_at,
    }
