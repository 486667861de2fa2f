"""Activities of purchases, card payments and rates."""

from datetime import timedelta

from temporalio import activity

from activities.failures import tried_for_ever
from activities.watching import rounds
from domain.gateway_ports import CardDesk, CardReview, PurchaseDesk, RateDesk
from domain.notifying import WorkflowNotifier
from domain.purchases import (
    PurchaseAcceptance,
    PurchaseRequest,
    PurchaseStanding,
    RefundRequest,
)


class PurchaseActivities:
    """The steps of one purchase: each is one unit of work on the database."""

    def __init__(self, desk: PurchaseDesk, notifier: WorkflowNotifier) -> None:
        """Take the desk, and the way to reach other workflows."""
        self._desk = desk
        self._notifier = notifier

    @activity.defn(name="purchase.open")
    async def open(self, request: PurchaseRequest) -> PurchaseAcceptance:
        """Take the quote and say where to pay, or say why not; a repeat answers the same."""
        return await self._desk.open(request)

    @activity.defn(name="purchase.advance")
    async def advance(self, purchase_id: str) -> PurchaseStanding:
        """Book what was paid, or taken back, and say what is next."""
        return await tried_for_ever(self._desk.advance(purchase_id))

    @activity.defn(name="purchase.cancel")
    async def cancel(self, purchase_id: str) -> PurchaseStanding:
        """Give up a purchase that nothing was paid for."""
        return await self._desk.cancel(purchase_id)

    @activity.defn(name="purchase.request_refund")
    async def request_refund(self, request: RefundRequest) -> PurchaseStanding:
        """Take back what a payment bought, so that it can be given back."""
        return await self._desk.request_refund(request)

    @activity.defn(name="purchase.tell")
    async def tell(self, purchase_id: str) -> None:
        """Tell a purchase's workflow that a deposit of its moved, starting it if need be."""
        await self._notifier.purchases_moved([purchase_id])


class CardActivities:
    """What is asked of the payment gateway; runs on the queue ``gateways``."""

    def __init__(self, desk: CardDesk, notifier: WorkflowNotifier) -> None:
        """Take the desk, and the way to reach other workflows."""
        self._desk = desk
        self._notifier = notifier

    @activity.defn(name="card.create_intent")
    async def create_intent(self, purchase_id: str) -> None:
        """Set a card payment up, once."""
        await self._desk.create_intent(purchase_id)

    @activity.defn(name="card.sync")
    async def sync(self, purchase_id: str) -> None:
        """Write down how a card payment stands now."""
        await self._desk.sync(purchase_id)

    @activity.defn(name="card.cancel_intent")
    async def cancel_intent(self, purchase_id: str) -> None:
        """Give a card payment up."""
        await self._desk.cancel_intent(purchase_id)

    @activity.defn(name="card.refund")
    async def refund(self, refund_id: str) -> None:
        """Give back what a refund says."""
        await self._desk.refund(refund_id)

    @activity.defn(name="card.handle_event")
    async def handle_event(self, event_id: str) -> None:
        """Find out which purchase an event is about, and tell its workflow to look."""
        purchase_id = await self._desk.resolve(event_id)
        if purchase_id is not None:
            await self._notifier.purchases_moved([purchase_id])
        await self._desk.mark_handled(event_id, purchase_id)


class CardReviewActivities:
    """Takes to their purchases what no webhook brought; runs on the queue ``gateways``."""

    def __init__(self, cards: CardActivities, review: CardReview, *, interval: timedelta) -> None:
        """Take who handles events, who finds them, and how often the gateway is asked."""
        self._cards = cards
        self._review = review
        self._interval = interval

    @activity.defn(name="card.review")
    async def review(self) -> None:
        """Ask again and again for a while; what dies in the midst of it is found again."""
        async for _ in rounds(self._interval):
            for event_id in await self._review.missed():
                await self._cards.handle_event(event_id)


class RateActivities:
    """What is asked of the sources of rates; runs on the queue ``gateways``."""

    def __init__(self, desk: RateDesk, *, interval: timedelta) -> None:
        """Take the desk, and how often the sources are asked."""
        self._desk = desk
        self._interval = interval

    @activity.defn(name="rates.follow")
    async def follow(self) -> None:
        """Ask the sources again and again for a while."""
        async for _ in rounds(self._interval):
            activity.heartbeat(await self._desk.refresh())
