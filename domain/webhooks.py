"""What is said about webhooks between API, workflows and the database; when to try again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

PING = "webhook_endpoint.pinged"
"""The kind of event that goes to the one endpoint that it is about."""

EVERY_KIND = "*"

FIRST_RETRY: Final = timedelta(seconds=10)
RETRY_FACTOR: Final = 3
LONGEST_RETRY: Final = timedelta(hours=6)
ATTEMPTS_MAX: Final = 12
"""With the delays above and their jitter the last one comes after about 27 hours."""

JITTER: Final = 0.2
"""Delays are this much longer or shorter by chance, so that what failed together parts."""

DISABLE_AFTER: Final = timedelta(days=5)
"""An endpoint that took nothing for this long gets no more."""


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """It is to be sent, for the first time or again."""
    DELIVERED = "delivered"
    """The endpoint answered with a status between 200 and 299."""
    FAILED = "failed"
    """The last attempt failed too."""
    CANCELLED = "cancelled"
    """The endpoint was removed or disabled first."""


class DisabledReason(StrEnum):
    """Why an endpoint gets nothing."""

    BY_USER = "by_user"
    """Its user said so."""
    FAILING = "failing"
    """It took nothing for days."""
    GONE = "gone"
    """It answered 410 Gone."""


@dataclass(frozen=True)
class DeliveryInput:
    """Which delivery a workflow is about; everything else is in the database."""

    delivery_id: str


@dataclass(frozen=True)
class DeliveryStanding:
    """Where a delivery stands after an attempt; the delay is None when it has ended."""

    delivery_id: str
    status: DeliveryStatus
    attempts: int
    retry_after_s: int | None = None


class WebhookDesk(Protocol):
    """What delivery asks of the database and the network; each step may be repeated."""

    async def dispatch(self) -> int:
        """Make deliveries of what was told since the last time; return how many events it saw."""
        ...

    async def unstarted(self, *, limit: int) -> Sequence[str]:
        """Return deliveries whose workflow may not run yet, oldest first."""
        ...

    async def note_started(self, delivery_ids: Sequence[str]) -> None:
        """Note that these deliveries' workflows run."""
        ...

    async def attempt(self, delivery_id: str) -> DeliveryStanding:
        """Send it once, unless it has ended, and say where it stands."""
        ...


class WebhookStarter(Protocol):
    """What starts the workflows of deliveries."""

    async def webhooks_due(self, delivery_ids: Sequence[str]) -> None:
        """Start the workflow of each, unless it was started before."""
        ...


def retry_delay_s(attempts: int, *, chance: float, asked_s: int = 0) -> int | None:
    """
    Return after how many seconds to try again what failed so often; None: not any more.

    ``chance`` is drawn from [0, 1). An endpoint may ask for more patience (``asked_s``), up to the
    longest delay.
    """
    if attempts >= ATTEMPTS_MAX:
        return None
    longest_s = LONGEST_RETRY.total_seconds()
    delay_s = min(FIRST_RETRY.total_seconds() * RETRY_FACTOR ** (attempts - 1), longest_s)
    delay_s *= 1 - JITTER + 2 * JITTER * chance
    return int(max(delay_s, min(asked_s, longest_s)))


def wants(kinds: Sequence[str], kind: str) -> bool:
    """Tell whether a filter lets a kind of event through: by name, by ``payout.*``, or by ``*``."""
    return not {EVERY_KIND, kind, f"{kind.partition('.')[0]}.*"}.isdisjoint(kinds)
