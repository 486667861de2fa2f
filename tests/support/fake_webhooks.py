"""``domain.webhooks.WebhookDesk`` in memory, for tests of workflows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.ids import WEBHOOK_DELIVERY, new_id
from domain.webhooks import DeliveryStanding, DeliveryStatus

RETRY_S = 3_600


@dataclass
class FakeDelivery:
    """A delivery's row."""

    id: str
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    is_started: bool = False


@dataclass
class FakeWebhooks:
    """The outbox and the deliveries of it."""

    untold: int = 0
    """Events that were not made deliveries of yet."""
    refusals: int = 0
    """How many attempts at each delivery fail before one is taken; -1: all, until it gives up."""
    attempts_max: int = 3
    deliveries: dict[str, FakeDelivery] = field(default_factory=dict)
    dispatches: int = 0

    def standing(self) -> list[tuple[object, ...]]:
        """Return what must be the same however often a step was repeated."""
        return [(d.status, d.is_started) for d in self.deliveries.values()]


class FakeWebhookDesk:
    """Makes a delivery of each event, and sends it to nobody."""

    def __init__(self, webhooks: FakeWebhooks) -> None:
        self._webhooks = webhooks

    async def dispatch(self) -> int:
        self._webhooks.dispatches += 1
        seen, self._webhooks.untold = self._webhooks.untold, 0
        for _ in range(seen):
            delivery = FakeDelivery(new_id(WEBHOOK_DELIVERY))
            self._webhooks.deliveries[delivery.id] = delivery
        return seen

    async def unstarted(self, *, limit: int) -> Sequence[str]:
        found = [d.id for d in self._webhooks.deliveries.values() if not d.is_started]
        return found[:limit]

    async def note_started(self, delivery_ids: Sequence[str]) -> None:
        for delivery_id in delivery_ids:
            self._webhooks.deliveries[delivery_id].is_started = True

    async def attempt(self, delivery_id: str) -> DeliveryStanding:
        delivery, webhooks = self._webhooks.deliveries[delivery_id], self._webhooks
        if delivery.status != DeliveryStatus.PENDING:
            return DeliveryStanding(delivery_id, delivery.status, delivery.attempts)
        delivery.attempts += 1
        if 0 <= webhooks.refusals < delivery.attempts:
            delivery.status = DeliveryStatus.DELIVERED
        elif delivery.attempts == webhooks.attempts_max:
            delivery.status = DeliveryStatus.FAILED
        is_open = delivery.status == DeliveryStatus.PENDING
        retry_after_s = RETRY_S if is_open else None
        return DeliveryStanding(delivery_id, delivery.status, delivery.attempts, retry_after_s)
