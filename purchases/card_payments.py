"""What the gateway said of a purchase's card payment, and what of it the purchase converts."""

from dataclasses import dataclass
from fractions import Fraction

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.gateway_ports import IntentStatus
from domain.ids import PURCHASE_REFUND, derived_id
from domain.purchases import (
    CardFacts,
    Position,
    PurchaseStatus,
    RefundReason,
    RefundStatus,
    card_position,
)
from models.purchases import CardPaymentRow, Purchase, PurchaseRefund
from purchases.books import terms_of
from purchases.chain_payments import rate_when_late


@dataclass(frozen=True, slots=True)
class CardStanding:
    """What the gateway says of a purchase now."""

    target: Position
    row: CardPaymentRow
    is_taken_back: bool
    """By a dispute, or by a refund that we did not ask for."""
    open_refund_id: str | None
    """A refund that the gateway is to be asked for."""

    @property
    def is_pending(self) -> bool:
        """The card network works on it."""
        return self.row.status == IntentStatus.PROCESSING


async def read_card(session: AsyncSession, purchase: Purchase, *, clock: Clock) -> CardStanding:
    """Return where the books belong; what came too late to buy anything is to be given back."""
    row = await session.get_one(CardPaymentRow, purchase.id)
    if row.received_minor and row.is_converted is None:
        await _judge(session, purchase, row, clock=clock)
    refunds = await refunds_of(session, purchase.id)
    facts = _facts(row, refunds)
    rate = None
    if row.is_converted:
        rate = (
            Fraction(row.rate_numerator, row.rate_denominator)
            if row.rate_numerator is not None and row.rate_denominator is not None
            else terms_of(purchase).rate
        )
    target = card_position(terms_of(purchase), facts, rate=rate)
    if row.is_converted is False and target.rest_minor:
        refunds += await _give_back(session, purchase, refunds, target.rest_minor, clock=clock)
    open_ids = [r.id for r in refunds if r.status == RefundStatus.REQUESTED]
    elsewhere = facts.refunded_minor - facts.ours_done_minor
    return CardStanding(
        target=target,
        row=row,
        is_taken_back=elsewhere > 0 or facts.disputed_minor > 0,
        open_refund_id=open_ids[0] if open_ids else None,
    )


async def refunds_of(session: AsyncSession, purchase_id: str) -> list[PurchaseRefund]:
    """Return what was given back of a purchase, oldest first."""
    found = await session.exec(
        select(PurchaseRefund)
        .where(PurchaseRefund.purchase_id == purchase_id)
        .order_by(col(PurchaseRefund.created_at), col(PurchaseRefund.id))
    )
    return list(found)


async def _judge(
    session: AsyncSession, purchase: Purchase, row: CardPaymentRow, *, clock: Clock
) -> None:
    """Decide once whether a payment was in time, and at which rate it buys."""
    is_over = purchase.status in (PurchaseStatus.CANCELLED, PurchaseStatus.EXPIRED)
    row.is_late = is_over or (row.paid_at is not None and row.paid_at > purchase.expires_at)
    row.is_converted = True
    if row.is_late:
        rate = await rate_when_late(session, purchase, now=clock.now())
        row.is_converted = rate is not None
        if rate is not None:
            row.rate_numerator, row.rate_denominator = rate.numerator, rate.denominator
    row.updated_at = clock.now()
    session.add(row)
    await session.flush()


async def _give_back(
    session: AsyncSession,
    purchase: Purchase,
    refunds: list[PurchaseRefund],
    owed_minor: int,
    *,
    clock: Clock,
) -> list[PurchaseRefund]:
    """Ask once for what is owed; where the gateway refused, a person has to look."""
    if refunds:
        return []
    refund = PurchaseRefund(
        id=derived_id(PURCHASE_REFUND, purchase.id, RefundReason.LATE),
        purchase_id=purchase.id,
        amount_minor=owed_minor,
        reason=RefundReason.LATE,
        status=RefundStatus.REQUESTED,
        created_at=clock.now(),
        updated_at=clock.now(),
    )
    session.add(refund)
    await session.flush()
    return [refund]


def _facts(row: CardPaymentRow, refunds: list[PurchaseRefund]) -> CardFacts:
    def total(status: RefundStatus) -> int:
        return sum(refund.amount_minor for refund in refunds if refund.status == status)

    return CardFacts(
        received_minor=row.received_minor,
        refunded_minor=row.refunded_minor,
        disputed_minor=row.disputed_minor,
        ours_done_minor=total(RefundStatus.SUCCEEDED),
        ours_requested_minor=total(RefundStatus.REQUESTED),
    )
