"""Where a purchase stands and what is next, from what the outside says of it. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.gateway_ports import IntentStatus
from domain.purchases import (
    PaymentMethod,
    Position,
    PurchaseStanding,
    PurchaseStatus,
    PurchaseTask,
)
from ledger import rules
from models.purchases import CardPaymentRow, Purchase
from purchases.books import Rule

RECHECK = timedelta(minutes=15)
"""A purchase that waits looks again after this, should a signal or a webhook ever be lost."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the outside says of a purchase, whichever way it is paid."""

    target: Position
    is_pending: bool
    is_taken_back: bool
    refunded_minor: int
    """Given back at an operator's wish."""
    card: CardPaymentRow | None = None
    open_refund_id: str | None = None

    @property
    def is_refused(self) -> bool:
        """The gateway did not set the payment up."""
        return self.card is not None and self.card.status == IntentStatus.REFUSED


def rule_of(purchase: Purchase, before: Position, target: Position) -> Rule:
    """Return the rule by which books move; only what is taken back may leave a debt."""
    is_chain = purchase.method == PaymentMethod.CHAIN
    is_less = target.cash_minor < before.cash_minor
    if target.credited_minor < before.credited_minor or (
        is_chain and (is_less or target.rest_minor < before.rest_minor)
    ):
        return rules.purchase_clawback
    return rules.purchase_refund if is_less else rules.purchase_credit


def status_of(purchase: Purchase, facts: Facts, *, now: datetime) -> PurchaseStatus:
    """Return where a purchase stands once its books are where they belong."""
    converted = facts.target.converted_minor
    if converted and converted + facts.refunded_minor >= purchase.pay_minor:
        return PurchaseStatus.COMPLETED
    if facts.is_taken_back:
        return PurchaseStatus.CLAWED_BACK
    if facts.refunded_minor and not converted:
        return PurchaseStatus.REFUNDED
    if purchase.status == PurchaseStatus.CANCELLED or facts.is_refused:
        return PurchaseStatus.CANCELLED
    is_awaited = now < purchase.expires_at or facts.is_pending or _is_payable(facts)
    return _unfinished(facts, is_awaited=is_awaited)


def _unfinished(facts: Facts, *, is_awaited: bool) -> PurchaseStatus:
    if facts.target.converted_minor:
        return PurchaseStatus.PARTIALLY_PAID if is_awaited else PurchaseStatus.UNDERPAID
    if facts.is_pending:
        return PurchaseStatus.CONFIRMING
    return PurchaseStatus.AWAITING_PAYMENT if is_awaited else PurchaseStatus.EXPIRED


def next_of(purchase: Purchase, facts: Facts, *, now: datetime) -> PurchaseStanding:
    """Return what is waited for, or to be done, now that the books are where they belong."""
    wake_at: datetime | None = None
    if facts.is_pending:
        wake_at = now + RECHECK
    elif PurchaseStatus(purchase.status).is_open:
        wake_at = min(purchase.expires_at, now + RECHECK)
    task = task_of(purchase, facts, now=now)
    return standing_of(purchase, wake_at=wake_at, task=task, refund_id=facts.open_refund_id)


def task_of(purchase: Purchase, facts: Facts, *, now: datetime) -> PurchaseTask | None:
    """Return what the gateway is to be asked for; pure."""
    if facts.card is None:
        return None
    is_open = PurchaseStatus(purchase.status).is_open
    if facts.open_refund_id is not None:
        return PurchaseTask.REFUND
    if facts.card.intent_id is None:
        is_wanted = is_open and facts.card.status == IntentStatus.OPEN
        return PurchaseTask.CREATE_INTENT if is_wanted else None
    is_over = not is_open or now >= purchase.expires_at
    return PurchaseTask.CANCEL_INTENT if is_over and _is_payable(facts) else None


def _is_payable(facts: Facts) -> bool:
    """Tell whether the gateway would still take the payment; until it is asked, nothing is over."""
    card = facts.card
    return card is not None and card.intent_id is not None and card.status == IntentStatus.OPEN


def standing_of(
    purchase: Purchase,
    *,
    wake_at: datetime | None = None,
    task: PurchaseTask | None = None,
    refund_id: str | None = None,
) -> PurchaseStanding:
    """Return a purchase's standing; without more it is over."""
    return PurchaseStanding(
        purchase_id=purchase.id,
        status=PurchaseStatus(purchase.status),
        method=PaymentMethod(purchase.method),
        wake_at=wake_at,
        task=task,
        refund_id=refund_id if task == PurchaseTask.REFUND else None,
    )
