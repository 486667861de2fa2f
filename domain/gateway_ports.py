"""What purchases ask of the outside, as Protocols; see ``domain.ports``."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domain.purchases import (
    PurchaseAcceptance,
    PurchaseRequest,
    PurchaseStanding,
    RefundRequest,
)
from domain.rates import Observation


class RateSource(Protocol):
    """Somebody who knows prices."""

    name: str

    async def observe(self, symbols: Collection[str]) -> Sequence[Observation]:
        """
        Return what is known of these symbols, such as ``BTC-USD``; one may be missing.

        Raises:
            RateUnavailableError: Nobody answers.
        """
        ...


class IntentStatus(StrEnum):
    """Where a card payment stands, as far as it matters to us."""

    OPEN = "open"
    """The customer has something to do."""
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    """The gateway never set it up."""


@dataclass(frozen=True, slots=True)
class CardIntent:
    """A card payment that was set up."""

    intent_id: str
    client_secret: str
    """What the customer's browser pays with; never logged, never in a history."""
    status: IntentStatus


@dataclass(frozen=True, slots=True)
class CardPayment:
    """A card payment as the gateway has it now; amounts in minor units of its currency."""

    intent_id: str
    status: IntentStatus
    currency: str
    """Lower case, as the gateway writes it."""
    amount_minor: int
    received_minor: int
    refunded_minor: int
    """Given back or about to be, by whomever."""
    disputed_minor: int
    """Withdrawn by disputes that are not won."""
    paid_at: datetime | None
    refunds: "Sequence[CardRefund]" = ()


@dataclass(frozen=True, slots=True)
class CardRefund:
    """A refund as the gateway has it."""

    gateway_id: str
    refund_id: str | None
    """Ours, where we asked for it."""
    amount_minor: int
    is_failed: bool
    """It failed or was taken back: the money stays where it was."""


@dataclass(frozen=True, slots=True)
class GatewayNews:
    """An event as the gateway keeps it; only what it is about is believed."""

    event_id: str
    kind: str
    object_id: str
    at: datetime
    """When it happened, by the gateway's clock."""


class CardGateway(Protocol):
    """A payment gateway. Each call is safe to repeat: what it makes has a key of its own."""

    async def create_intent(
        self, *, purchase_id: str, amount_minor: int, currency: str
    ) -> CardIntent:
        """
        Set a payment up, or return the one that this purchase has.

        Raises:
            GatewayUnavailableError, GatewayOutcomeUnknownError: Ask again.
            GatewayRefusedError: It never will be.
        """
        ...

    async def cancel_intent(self, *, purchase_id: str, intent_id: str) -> None:
        """Give a payment up; one that is paid, or gone already, is left as it is."""
        ...

    async def payment(self, intent_id: str) -> CardPayment:
        """Return how a payment stands now."""
        ...

    async def refund(self, *, refund_id: str, intent_id: str, amount_minor: int) -> CardRefund:
        """
        Give back a part of a payment; a repeat answers the same.

        Raises:
            GatewayRefusedError: More than is left, or it cannot be given back.
        """
        ...

    async def intent_of(self, kind: str, object_id: str) -> str | None:
        """Return which payment an event's object belongs to, as the gateway says; None: none."""
        ...

    async def news(self, since: datetime | None) -> Sequence[GatewayNews]:
        """
        Return what happened to payments from then on, whether or not anybody was told.

        Without a time it is all that the gateway still knows: of Stripe's the last 30 days.
        """
        ...


class PurchaseDesk(Protocol):
    """The steps of one purchase, each one unit of work that may be repeated."""

    async def open(self, request: PurchaseRequest) -> PurchaseAcceptance:
        """Take the quote and say where to pay, or refuse it; a repeat answers the same."""
        ...

    async def advance(self, purchase_id: str) -> PurchaseStanding:
        """Book what was paid, or taken back, since the last time, and say what is next."""
        ...

    async def cancel(self, purchase_id: str) -> PurchaseStanding:
        """Give up a purchase that nothing was paid for; raise PurchaseStateError else."""
        ...

    async def request_refund(self, request: RefundRequest) -> PurchaseStanding:
        """
        Take back what a payment bought, so that it can be given back.

        Raises:
            PurchaseStateError: There is not so much to give back.
            InsufficientAvailableBalanceError: The customer has spent what it bought.
        """
        ...


class CardDesk(Protocol):
    """The steps of a card payment that ask the gateway, and write down what it says."""

    async def create_intent(self, purchase_id: str) -> None:
        """Set the payment up, once; that the gateway refuses it is written down too."""
        ...

    async def sync(self, purchase_id: str) -> None:
        """Write down how the payment stands now."""
        ...

    async def cancel_intent(self, purchase_id: str) -> None:
        """Give the payment up, and write down how it stands then."""
        ...

    async def refund(self, refund_id: str) -> None:
        """Give back what a refund says, and write down what came of it."""
        ...

    async def resolve(self, event_id: str) -> str | None:
        """Return the purchase that an event of the inbox is about; None: none of ours."""
        ...

    async def mark_handled(self, event_id: str, purchase_id: str | None) -> None:
        """Remember that an event's purchase was told."""
        ...


class CardReview(Protocol):
    """Finds what webhooks should have told, and did not."""

    async def missed(self) -> Sequence[str]:
        """
        Put what the gateway lists into the inbox; return what nobody has handled for a while.

        Raises:
            GatewayUnavailableError, GatewayOutcomeUnknownError: Ask again.
        """
        ...


class RateDesk(Protocol):
    """Keeps what the market says."""

    async def refresh(self) -> int:
        """Ask every source for what the table of rates needs; return how many prices came."""
        ...
