"""
What is said about quotes and purchases, and the arithmetic of what a payment buys. Plain values.

The policy on payments, in one place:

- *In time* is what was seen before the purchase expired and settled before its grace is over. It is
  converted at the locked rate, up to the quoted amount, part by part; less than quoted buys pro
  rata.
- *Too much* is not converted: on a chain it is the customer's plain balance, a card never pays it.
- *Late* is converted, up to the quoted amount, where the present rate is within a tolerance of the
  locked one, at the worse of both for the customer. Otherwise it is plain balance, and goes back to
  a card.
- What a chain or a card network takes back is taken back in what it bought, pro rata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from domain.rates import BPS, bought_minor

STRIPE = "stripe"
"""The gateway's name in the books."""


class PaymentMethod(StrEnum):
    """How a purchase is paid."""

    CHAIN = "chain"
    """To an address of its own."""
    CARD = "card"
    """Through the payment gateway."""


class PurchaseStatus(StrEnum):
    """Where a purchase stands."""

    AWAITING_PAYMENT = "awaiting_payment"
    """Nothing was seen yet."""
    CONFIRMING = "confirming"
    """A payment was seen, and is not final yet."""
    PARTIALLY_PAID = "partially_paid"
    """Less than quoted was credited; the rest may still come in time."""
    COMPLETED = "completed"
    """All that was quoted is credited."""
    UNDERPAID = "underpaid"
    """Time is over; what was paid is credited pro rata."""
    EXPIRED = "expired"
    """Time is over and nothing was bought."""
    CANCELLED = "cancelled"
    """The customer gave it up before anything was paid."""
    REFUSED = "refused"
    """Never opened: a limit or the gateway did not allow it."""
    REFUNDED = "refunded"
    """All that was bought was given back for what was paid."""
    CLAWED_BACK = "clawed_back"
    """A chain or a card network took payments back, and so was what they bought."""

    @property
    def is_open(self) -> bool:
        """Tell whether a payment is still awaited."""
        return self in OPEN


OPEN = frozenset(
    {PurchaseStatus.AWAITING_PAYMENT, PurchaseStatus.CONFIRMING, PurchaseStatus.PARTIALLY_PAID}
)


class PurchaseTask(StrEnum):
    """What the gateway must be asked for before a purchase can go on."""

    CREATE_INTENT = "create_intent"
    CANCEL_INTENT = "cancel_intent"
    REFUND = "refund"


class RefundStatus(StrEnum):
    """Where the return of a payment stands."""

    REQUESTED = "requested"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RefundReason(StrEnum):
    """Why a payment is given back."""

    OPERATOR = "operator"
    LATE = "late"


@dataclass(frozen=True)
class PurchaseRequest:
    """A purchase as it was asked for; the quote says everything about money."""

    purchase_id: str
    user_id: str
    principal: str
    idempotency_key: str
    request_hash: str
    quote_id: str


@dataclass(frozen=True)
class PurchaseInput:
    """Which purchase a workflow is about; without a request it goes on with one that exists."""

    purchase_id: str
    request: PurchaseRequest | None = None
    is_moved: bool = False
    """Something was heard that was not looked at yet."""


@dataclass(frozen=True)
class PurchaseAcceptance:
    """What became of a request: opened, or refused and why."""

    purchase_id: str
    status: PurchaseStatus
    request_hash: str
    reason_code: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class PurchaseStanding:
    """Where a purchase stands, for its workflow."""

    purchase_id: str
    status: PurchaseStatus
    method: PaymentMethod
    wake_at: datetime | None = None
    """When to look again although nothing was heard; None: there is nothing to wait for."""
    task: PurchaseTask | None = None
    refund_id: str | None = None

    @property
    def is_waiting(self) -> bool:
        """Something is still expected."""
        return self.wake_at is not None or self.task is not None


@dataclass(frozen=True)
class RefundRequest:
    """An operator's wish to give a payment back, as far as what it bought is still there."""

    refund_id: str
    purchase_id: str
    operator_id: str
    amount: str
    """In minor units of the asset that paid."""
    note: str | None = None

    @property
    def amount_minor(self) -> int:
        """The amount in minor units."""
        return int(self.amount)


@dataclass(frozen=True)
class StripeEventInput:
    """An event of the gateway that is in our inbox."""

    event_id: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What was quoted: so much buys so much."""

    pay_minor: int
    buy_minor: int

    @property
    def rate(self) -> Fraction:
        """The locked rate, minor units bought per minor unit paid."""
        return Fraction(self.buy_minor, self.pay_minor)


@dataclass(frozen=True, slots=True)
class Lot:
    """A part of what was paid that is converted; ``rate`` is None where the locked one holds."""

    converted_minor: int
    rate: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """What the books say, or are to say, of one purchase; in minor units."""

    cash_minor: int = 0
    """What its payments brought in: out of clearing, or at the gateway."""
    rest_minor: int = 0
    """What of it is not ours: the customer's balance, or owed back through the gateway."""
    converted_minor: int = 0
    credited_minor: int = 0
    """Of the asset that was bought."""


def late_rate(terms: Terms, present: Fraction | None, *, tolerance_bps: int) -> Fraction | None:
    """Return the rate of a late payment, or None where it buys nothing."""
    locked = terms.rate
    if present is None or abs(present - locked) * BPS > locked * tolerance_bps:
        return None
    return min(present, locked)


def credited_minor(terms: Terms, lots: Sequence[Lot], *, taken_back_minor: int = 0) -> int:
    """
    Return what lots buy, rounded down once per rate, less what was taken back pro rata.

    Never more than was quoted, as the lots are never more than was quoted.
    """
    gross = sum(lot.converted_minor for lot in lots)
    if not gross or taken_back_minor >= gross:
        return 0
    locked = sum(lot.converted_minor for lot in lots if lot.rate is None)
    bought = bought_minor(locked, terms.rate)
    bought += sum(bought_minor(x.converted_minor, x.rate) for x in lots if x.rate is not None)
    return bought * (gross - taken_back_minor) // gross


def chain_position(
    terms: Terms, lots: Sequence[Lot], *, received_minor: int, taken_back_minor: int
) -> Position:
    """Return what is to be booked of payments on a chain; what is not converted is the user's."""
    gross = sum(lot.converted_minor for lot in lots)
    converted = max(0, gross - taken_back_minor)
    return Position(
        cash_minor=received_minor,
        rest_minor=received_minor - converted,
        converted_minor=converted,
        credited_minor=credited_minor(terms, lots, taken_back_minor=taken_back_minor),
    )


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the gateway and our own refunds say of a card payment; in minor units."""

    received_minor: int = 0
    refunded_minor: int = 0
    """What the gateway gave back or is about to, at whoever's wish."""
    disputed_minor: int = 0
    """What a dispute withdrew and did not bring back."""
    ours_done_minor: int = 0
    """What of the refunds is ours."""
    ours_requested_minor: int = 0
    """What we shall have given back; the gateway was not heard of yet."""


def card_position(terms: Terms, facts: CardFacts, *, rate: Fraction | None) -> Position:
    """
    Return what is to be booked of a card payment that buys at this rate.

    Without a rate it came too late to buy anything, and all of it is owed back.
    """
    cash = facts.received_minor - facts.refunded_minor - facts.disputed_minor
    if rate is None:
        return Position(cash_minor=cash, rest_minor=max(0, cash))
    elsewhere = max(0, facts.refunded_minor - facts.ours_done_minor)
    ours = facts.ours_done_minor + facts.ours_requested_minor
    taken_back = elsewhere + ours + facts.disputed_minor
    lot = Lot(facts.received_minor, rate)
    return Position(
        cash_minor=cash,
        rest_minor=facts.ours_requested_minor,
        converted_minor=max(0, facts.received_minor - taken_back),
        credited_minor=credited_minor(terms, [lot], taken_back_minor=taken_back),
    )
