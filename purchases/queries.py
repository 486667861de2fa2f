"""Reading purchases."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.addresses import DepositAddress
from deposits.addresses import find as find_address
from domain.errors import PurchaseNotFoundError
from domain.purchases import PurchaseStatus
from infra.paging import Page, paged
from models.purchases import (
    CardPaymentRow,
    CardSecret,
    Purchase,
    PurchaseEvent,
    PurchasePayment,
    PurchaseRefund,
)
from purchases.card_payments import refunds_of
from purchases.chain_payments import payments_of


@dataclass(frozen=True, slots=True)
class PurchaseDetail:
    """A purchase with where it is paid, what was paid, and its history."""

    purchase: Purchase
    address: DepositAddress | None
    card: CardPaymentRow | None
    client_secret: str | None
    """What a browser pays with; only for whom it is."""
    payments: Sequence[PurchasePayment]
    refunds: Sequence[PurchaseRefund]
    events: Sequence[PurchaseEvent]


async def purchase_for(session: AsyncSession, purchase_id: str, *, user_id: str | None) -> Purchase:
    """
    Return one purchase; ``user_id`` restricts it to what is theirs.

    Raises:
        PurchaseNotFoundError: There is none, or it is somebody else's: the answer is the same.
    """
    purchase = await session.get(Purchase, purchase_id)
    if purchase is None or user_id not in (None, purchase.user_id):
        raise PurchaseNotFoundError
    return purchase


async def purchase_detail(
    session: AsyncSession, purchase_id: str, *, user_id: str | None, payer_id: str | None
) -> PurchaseDetail:
    """
    Return everything about one purchase; what a browser pays with only to ``payer_id``.

    Raises:
        PurchaseNotFoundError: As ``purchase_for``.
    """
    purchase = await purchase_for(session, purchase_id, user_id=user_id)
    events = await session.exec(
        select(PurchaseEvent)
        .where(PurchaseEvent.purchase_id == purchase_id)
        .order_by(col(PurchaseEvent.id))
    )
    is_payer = payer_id == purchase.user_id and PurchaseStatus(purchase.status).is_open
    secret = await session.get(CardSecret, purchase_id) if is_payer else None
    return PurchaseDetail(
        purchase=purchase,
        address=(
            await find_address(session, purchase.address_id, user_id=None)
            if purchase.address_id
            else None
        ),
        card=await session.get(CardPaymentRow, purchase_id),
        client_secret=secret.client_secret if secret else None,
        payments=list((await payments_of(session, purchase_id)).values()),
        refunds=await refunds_of(session, purchase_id),
        events=list(events),
    )


async def list_purchases(
    session: AsyncSession,
    page: Page,
    *,
    user_id: str | None,
    status: PurchaseStatus | None,
    asset: str | None,
) -> list[Purchase]:
    """Return a page of purchases, newest first, and one row more; of one customer, or of all."""
    query = select(Purchase)
    if user_id is not None:
        query = query.where(Purchase.user_id == user_id)
    if status is not None:
        query = query.where(Purchase.status == status)
    if asset is not None:
        query = query.where(Purchase.asset == asset)
    query = paged(query, page, created_at=Purchase.created_at, row_id=Purchase.id)
    return list(await session.exec(query))
