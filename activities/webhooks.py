"""Activities of webhooks: making deliveries of events, and sending them."""

from datetime import timedelta

from temporalio import activity

from activities.watching import rounds
from domain.webhooks import DeliveryStanding, WebhookDesk, WebhookStarter

INTERVAL = timedelta(seconds=1)
STARTS_AT_ONCE = 100
STEPS_AT_ONCE = 20


class WebhookActivities:
    """What the dispatcher's and each delivery's workflow ask for."""

    def __init__(
        self, desk: WebhookDesk, starter: WebhookStarter, *, interval: timedelta = INTERVAL
    ) -> None:
        """Take the desk, what starts workflows, and how often the outbox is looked at."""
        self._desk = desk
        self._starter = starter
        self._interval = interval

    @activity.defn(name="webhook.dispatch")
    async def dispatch(self) -> None:
        """Turn events into deliveries and start their workflows, for one round."""
        async for _ in rounds(self._interval):
            # A backlog is worked off without pauses, but not past the end of the round.
            for _ in range(STEPS_AT_ONCE):
                seen = await self._desk.dispatch()
                started = await self._start()
                if not seen and not started:
                    break

    async def _start(self) -> int:
        due = await self._desk.unstarted(limit=STARTS_AT_ONCE)
        if due:
            await self._starter.webhooks_due(due)
            await self._desk.note_started(due)
        return len(due)

    @activity.defn(name="webhook.attempt")
    async def attempt(self, delivery_id: str) -> DeliveryStanding:
        """Send a delivery once, unless it has ended; a repeat is the same message to its reader."""
        return await self._desk.attempt(delivery_id)
