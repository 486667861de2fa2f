"""What a purchase's address received, and what of it the purchase converts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.deposits import DepositStatus
from domain.errors import LimitExceededError
from domain.limits import Operation
from domain.purchases import Lot, Position, PurchaseStatus, chain_position, late_rate
from domain.rate_table import Purpose
from gateways.rates.quotes import rate_now
from limits.reservation import is_reserved, reserve
from models.deposits import ChainDeposit
from models.purchases import Purchase, PurchasePayment
from purchases.books import terms_of

PENDING = (DepositStatus.SEEN, DepositStatus.CONFIRMING)


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What the chain says of a purchase now."""

    target: Position
    is_pending: bool
    """Something was seen that is not final yet."""
    is_taken_back: bool
    """Something was booked and has left the chain."""


async def read_chain(session: AsyncSession, purchase: Purchase, *, clock: Clock) -> ChainFacts:
    """Return where the books belong, and remember what became of each deposit."""
    deposits = await _deposits(session, purchase)
    payments = await payments_of(session, purchase.id)
    # What is gone first: it makes room for what came in its place.
    for deposit in deposits:
        payment = payments.get(deposit.id)
        if payment is not None and payment.is_booked and not deposit.is_booked:
            payment.is_booked, payment.converted_minor = False, 0
            payment.rate_numerator = payment.rate_denominator = None
            payment.updated_at = clock.now()
            session.add(payment)
    for deposit in deposits:
        payment = payments.get(deposit.id)
        if deposit.is_booked and (payment is None or not payment.is_booked):
            payments[deposit.id] = await _book(
                session, purchase, deposit, payment, room=_room(purchase, payments), clock=clock
            )
    await session.flush()
    booked = [payment for payment in payments.values() if payment.is_booked]
    target = chain_position(
        terms_of(purchase),
        [_lot(payment) for payment in booked],
        received_minor=sum(payment.amount_minor for payment in booked),
        taken_back_minor=purchase.refunded_minor,
    )
    return ChainFacts(
        target=target,
        is_pending=any(d.status in PENDING and not d.is_booked for d in deposits),
        is_taken_back=len(booked) < len(payments),
    )


async def payments_of(session: AsyncSession, purchase_id: str) -> dict[str, PurchasePayment]:
    """Return what was paid for a purchase so far, by deposit."""
    found = await session.exec(
        select(PurchasePayment)
        .where(PurchasePayment.purchase_id == purchase_id)
        .order_by(col(PurchasePayment.created_at), col(PurchasePayment.deposit_id))
    )
    return {payment.deposit_id: payment for payment in found}


async def present_rate(
    session: AsyncSession, purchase: Purchase, *, now: datetime
) -> Fraction | None:
    """Return what one minor unit buys now, or None where nobody can say."""
    return await rate_now(session, purchase.pay_asset, purchase.asset, Purpose.PURCHASE, now=now)


async def rate_when_late(
    session: AsyncSession, purchase: Purchase, *, now: datetime
) -> Fraction | None:
    """Return at which rate a late payment buys, or None where it buys nothing."""
    if purchase.status == PurchaseStatus.CANCELLED:
        return None
    rate = late_rate(
        terms_of(purchase),
        await present_rate(session, purchase, now=now),
        tolerance_bps=purchase.late_tolerance_bps,
    )
    # Not by the status: a late payment that confirms has opened an expired purchase again.
    if rate is None or await is_reserved(session, purchase.id):
        return rate
    return rate if await _reserved_again(session, purchase, now=now) else None


async def _reserved_again(session: AsyncSession, purchase: Purchase, *, now: datetime) -> bool:
    """Tell whether what was given back when the purchase expired is still to be had."""
    try:
        await reserve(
            session,
            user_id=purchase.user_id,
            operation=Operation.PURCHASE,
            asset=purchase.asset,
            amount_minor=purchase.amount_minor,
            at=now,
            hold_id=None,
            resource_id=f"{purchase.id}:late",
        )
    except LimitExceededError:
        return False
    return True


async def _book(
    session: AsyncSession,
    purchase: Purchase,
    deposit: ChainDeposit,
    payment: PurchasePayment | None,
    *,
    room: int,
    clock: Clock,
) -> PurchasePayment:
    now = clock.now()
    if payment is None:
        payment = PurchasePayment(
            deposit_id=deposit.id,
            purchase_id=purchase.id,
            amount_minor=deposit.amount_minor,
            is_late=_is_late(purchase, deposit, now=now),
            is_booked=True,
            converted_minor=0,
            created_at=now,
        )
    payment.is_booked, payment.updated_at = True, now
    payment.converted_minor = min(room, payment.amount_minor)
    if payment.is_late and room:
        rate = await rate_when_late(session, purchase, now=now)
        if rate is None:
            payment.converted_minor = 0
        else:
            payment.rate_numerator, payment.rate_denominator = rate.numerator, rate.denominator
    session.add(payment)
    return payment


def _is_late(purchase: Purchase, deposit: ChainDeposit, *, now: datetime) -> bool:
    credited_at = deposit.credited_at or now
    is_over = purchase.status in (PurchaseStatus.CANCELLED, PurchaseStatus.EXPIRED)
    # Without the second bound, whoever pays too small a network fee would hold a free option.
    return is_over or deposit.seen_at > purchase.expires_at or credited_at > purchase.settle_until


def _room(purchase: Purchase, payments: Mapping[str, PurchasePayment]) -> int:
    return purchase.pay_minor - sum(p.converted_minor for p in payments.values() if p.is_booked)


def _lot(payment: PurchasePayment) -> Lot:
    if payment.rate_numerator is None or payment.rate_denominator is None:
        return Lot(payment.converted_minor)
    rate = Fraction(payment.rate_numerator, payment.rate_denominator)
    return Lot(payment.converted_minor, rate)


async def _deposits(session: AsyncSession, purchase: Purchase) -> Sequence[ChainDeposit]:
    found = await session.exec(
        select(ChainDeposit)
        .where(
            ChainDeposit.address_id == purchase.address_id,
            ChainDeposit.asset == purchase.pay_asset,
            # What is too small to be credited is in nobody's books but ours.
            col(ChainDeposit.reason_code).is_(None),
        )
        .order_by(col(ChainDeposit.seen_at), col(ChainDeposit.id))
    )
    return found.all()
