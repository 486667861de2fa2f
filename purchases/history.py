"""Changing where a purchase stands, always with a line of its history and an event."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import PurchaseNotFoundError
from domain.events import Event
from domain.purchases import PurchaseStatus
from events.outbox import publish
from models.purchases import Purchase, PurchaseEvent


async def locked_purchase(session: AsyncSession, purchase_id: str) -> Purchase:
    """
    Return a purchase that nobody else changes until the commit.

    Raises:
        PurchaseNotFoundError: There is none.
    """
    found = await session.exec(
        select(Purchase).where(col(Purchase.id) == purchase_id).with_for_update()
    )
    purchase = found.first()
    if purchase is None:
        raise PurchaseNotFoundError
    return purchase


async def move(
    session: AsyncSession,
    purchase: Purchase,
    status: PurchaseStatus,
    *,
    clock: Clock,
    detail: str | None = None,
) -> None:
    """Set the status of a purchase and tell it; the same one again is nothing new."""
    if purchase.status == status:
        return
    purchase.status = status
    await note(session, purchase, clock=clock, detail=detail)
    await publish(session, _event(purchase, f"purchase.{status}"))


async def note(
    session: AsyncSession, purchase: Purchase, *, clock: Clock, detail: str | None
) -> None:
    """Write a line of history at the present status."""
    purchase.updated_at = clock.now()
    session.add(purchase)
    await session.flush()
    session.add(
        PurchaseEvent(
            purchase_id=purchase.id, status=purchase.status, detail=detail, at=clock.now()
        )
    )
    await session.flush()


async def tell_credited(session: AsyncSession, purchase: Purchase) -> None:
    """Tell that something was credited."""
    await publish(session, _event(purchase, "purchase.credited"))


def _event(purchase: Purchase, kind: str) -> Event:
    return Event(
        purchase.user_id,
        kind,
        purchase.id,
        {
            "asset": purchase.asset,
            "amount": str(purchase.amount_minor),
            "credited": str(purchase.credited_minor),
            "pay_asset": purchase.pay_asset,
            "pay_amount": str(purchase.pay_minor),
            "paid": str(purchase.converted_minor),
            "reason_code": purchase.reason_code,
        },
    )
