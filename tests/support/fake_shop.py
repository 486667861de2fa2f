"""
The ports of ``domain.gateway_ports`` in memory, for tests of workflows.

Every step may be repeated, like its counterpart on PostgreSQL, and what must happen once is
counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from domain.deposits import DepositStanding, DepositStatus
from domain.errors import GatewayUnavailableError, PurchaseStateError
from domain.purchases import (
    PaymentMethod,
    PurchaseAcceptance,
    PurchaseRequest,
    PurchaseStanding,
    PurchaseStatus,
    PurchaseTask,
    RefundRequest,
)
from tests.support.clocks import MovableClock

WINDOW = timedelta(minutes=30)
RECHECK = timedelta(minutes=15)


@dataclass
class FakePurchase:
    """A purchase's row, what the outside says of it, and what was booked."""

    id: str
    method: PaymentMethod
    expires_at: datetime
    request_hash: str
    status: PurchaseStatus = PurchaseStatus.AWAITING_PAYMENT
    is_paid: bool = False
    """At the chain or the gateway."""
    is_known: bool = False
    """That was written down: by the deposit's workflow, or by asking."""
    has_intent: bool = False
    is_intent_open: bool = False
    is_credited: bool = False
    refund_id: str | None = None
    is_refunded: bool = False


@dataclass
class FakeShop:
    """What the fakes share, and what a test turns to make trouble."""

    method: PaymentMethod = PaymentMethod.CARD
    window: timedelta = WINDOW
    is_refusing: bool = False
    gateway_failures: int = 0
    is_gateway_down: bool = False
    purchases: dict[str, FakePurchase] = field(default_factory=dict)
    events: dict[str, str | None] = field(default_factory=dict)
    handled: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    looks: int = 0
    asked: int = 0
    observed: int = 0
    clock: MovableClock = field(default_factory=lambda: MovableClock(datetime.now(UTC)))

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def ask_gateway(self) -> None:
        if self.is_gateway_down or self.gateway_failures:
            self.gateway_failures = max(0, self.gateway_failures - 1)
            raise GatewayUnavailableError

    def standing(self) -> dict[str, object]:
        """Return how everything ended, ids left out."""
        return {
            "statuses": sorted(p.status for p in self.purchases.values()),
            "counts": dict(sorted(self.counts.items())),
        }


class FakePurchaseDesk:
    """Implements ``domain.gateway_ports.PurchaseDesk``."""

    def __init__(self, shop: FakeShop) -> None:
        self._shop = shop

    async def open(self, request: PurchaseRequest) -> PurchaseAcceptance:
        shop = self._shop
        if shop.is_refusing:
            return PurchaseAcceptance(
                request.purchase_id,
                PurchaseStatus.REFUSED,
                request.request_hash,
                "quote_expired",
                "Quote expired",
            )
        if request.purchase_id not in shop.purchases:
            shop.count("opened")
            shop.purchases[request.purchase_id] = FakePurchase(
                request.purchase_id,
                shop.method,
                shop.clock.now() + shop.window,
                request.request_hash,
            )
        known = shop.purchases[request.purchase_id]
        return PurchaseAcceptance(known.id, PurchaseStatus.AWAITING_PAYMENT, known.request_hash)

    async def advance(self, purchase_id: str) -> PurchaseStanding:
        shop = self._shop
        shop.looks += 1
        purchase = shop.purchases[purchase_id]
        self._book(purchase)
        return self._next(purchase)

    async def cancel(self, purchase_id: str) -> PurchaseStanding:
        purchase = self._shop.purchases[purchase_id]
        if purchase.status != PurchaseStatus.CANCELLED:
            if purchase.status != PurchaseStatus.AWAITING_PAYMENT:
                raise PurchaseStateError
            purchase.status = PurchaseStatus.CANCELLED
            self._shop.count("cancelled")
        return self._next(purchase)

    async def request_refund(self, request: RefundRequest) -> PurchaseStanding:
        purchase = self._shop.purchases[request.purchase_id]
        if purchase.refund_id is None:
            if not purchase.is_credited:
                raise PurchaseStateError
            purchase.refund_id = request.refund_id
            self._shop.count("refund requested")
        return self._next(purchase)

    def _book(self, purchase: FakePurchase) -> None:
        shop = self._shop
        if purchase.is_known and purchase.is_paid and not purchase.is_credited:
            purchase.is_credited, purchase.status = True, PurchaseStatus.COMPLETED
            shop.count("credited")
        elif purchase.is_known and not purchase.is_paid and purchase.is_credited:
            purchase.is_credited, purchase.status = False, PurchaseStatus.CLAWED_BACK
            shop.count("clawed back")
        elif purchase.is_refunded:
            purchase.status = PurchaseStatus.REFUNDED
        elif (
            purchase.status == PurchaseStatus.AWAITING_PAYMENT
            and shop.clock.now() >= purchase.expires_at
            and not purchase.is_intent_open
        ):
            purchase.status = PurchaseStatus.EXPIRED
            shop.count("expired")

    def _next(self, purchase: FakePurchase) -> PurchaseStanding:
        now = self._shop.clock.now()
        is_open = purchase.status.is_open
        task = None
        if purchase.refund_id is not None and not purchase.is_refunded:
            task = PurchaseTask.REFUND
        elif purchase.method == PaymentMethod.CARD:
            is_over = not is_open or now >= purchase.expires_at
            if is_open and not purchase.has_intent and not is_over:
                task = PurchaseTask.CREATE_INTENT
            elif is_over and purchase.is_intent_open and not purchase.is_credited:
                task = PurchaseTask.CANCEL_INTENT
        return PurchaseStanding(
            purchase.id,
            purchase.status,
            purchase.method,
            wake_at=min(purchase.expires_at, now + RECHECK) if is_open else None,
            task=task,
            refund_id=purchase.refund_id if task == PurchaseTask.REFUND else None,
        )


class FakeCardDesk:
    """Implements ``domain.gateway_ports.CardDesk``."""

    def __init__(self, shop: FakeShop) -> None:
        self._shop = shop

    async def create_intent(self, purchase_id: str) -> None:
        self._shop.ask_gateway()
        purchase = self._shop.purchases[purchase_id]
        if not purchase.has_intent:
            purchase.has_intent = purchase.is_intent_open = True
            self._shop.count("intent")

    async def sync(self, purchase_id: str) -> None:
        self._shop.ask_gateway()
        self._shop.asked += 1
        purchase = self._shop.purchases[purchase_id]
        purchase.is_known = True
        if purchase.is_paid:
            purchase.is_intent_open = False

    async def cancel_intent(self, purchase_id: str) -> None:
        self._shop.ask_gateway()
        purchase = self._shop.purchases[purchase_id]
        if purchase.is_intent_open:
            purchase.is_intent_open = False
            self._shop.count("intent cancelled")
        await self.sync(purchase_id)

    async def refund(self, refund_id: str) -> None:
        self._shop.ask_gateway()
        (purchase,) = (p for p in self._shop.purchases.values() if p.refund_id == refund_id)
        if not purchase.is_refunded:
            purchase.is_refunded = True
            self._shop.count("refunded")

    async def resolve(self, event_id: str) -> str | None:
        self._shop.ask_gateway()
        return self._shop.events[event_id]

    async def mark_handled(self, event_id: str, purchase_id: str | None) -> None:
        assert self._shop.events[event_id] == purchase_id
        self._shop.handled.add(event_id)


class FakeCardReview:
    """Implements ``domain.gateway_ports.CardReview``."""

    def __init__(self, shop: FakeShop) -> None:
        self._shop = shop

    async def missed(self) -> Sequence[str]:
        return [event for event in self._shop.events if event not in self._shop.handled]


class FakeRateDesk:
    """Implements ``domain.gateway_ports.RateDesk``."""

    def __init__(self, shop: FakeShop) -> None:
        self._shop = shop

    async def refresh(self) -> int:
        self._shop.observed += 1
        return 2


class PayingDepositDesk:
    """Implements ``domain.ports.DepositDesk``: each deposit pays the purchase of its name."""

    def __init__(self, shop: FakeShop) -> None:
        self._shop = shop

    async def advance(self, deposit_id: str) -> DepositStanding:
        purchase_id = deposit_id.replace("dep_", "pur_")
        self._shop.purchases[purchase_id].is_known = True
        is_paid = self._shop.purchases[purchase_id].is_paid
        return DepositStanding(
            deposit_id=deposit_id,
            status=DepositStatus.CREDITED if is_paid else DepositStatus.REVERSED,
            amount="1",
            asset="ETH",
            confirmations=3,
            confirmations_required=3,
            is_waiting=False,
            purchase_id=purchase_id,
        )
