"""
Stripe, by its official library. No call is retried here: whoever calls is an activity, which is.

Everything that makes something carries an idempotency key of its own, derived from our ids, and so
does nothing twice; https://docs.stripe.com/api/idempotent_requests.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import stripe

from domain.errors import (
    GatewayMismatchError,
    GatewayOutcomeUnknownError,
    GatewayRefusedError,
    GatewayUnavailableError,
)
from domain.gateway_ports import CardIntent, CardPayment, CardRefund, GatewayNews, IntentStatus

# It logs the bodies of answers, which hold what a customer pays with.
logging.getLogger("stripe").setLevel(logging.WARNING)

TIMEOUT_S = 20.0
PAGE = 100

_STATUSES: Mapping[str, IntentStatus] = {
    "requires_payment_method": IntentStatus.OPEN,
    "requires_confirmation": IntentStatus.OPEN,
    "requires_action": IntentStatus.OPEN,
    "requires_capture": IntentStatus.PROCESSING,
    "processing": IntentStatus.PROCESSING,
    "succeeded": IntentStatus.SUCCEEDED,
    "canceled": IntentStatus.CANCELLED,
}
"""https://docs.stripe.com/payments/paymentintents/lifecycle."""

_WITHDRAWN = frozenset({"needs_response", "under_review", "lost"})
"""Disputes whose money is gone, for now or for good; inquiries (``warning_…``) take none."""

_PARENTS = {"ch_": "charges", "py_": "charges", "re_": "refunds", "pyr": "refunds"} | {
    "dp_": "disputes",
    "du_": "disputes",
}
"""Which kind of object an id is of, by its first three letters."""

_NEWS = (
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.succeeded",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
"""What may concern a purchase; a list of events is asked for twenty kinds at most."""


class StripeGateway:
    """``domain.gateway_ports.CardGateway`` through Stripe's API."""

    def __init__(self, api_key: str, *, base_url: str | None = None) -> None:
        """Take a secret or restricted key, and another address than Stripe's own in tests."""
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_S)
        options: dict[str, Any] = {"base_addresses": {"api": base_url}} if base_url else {}
        self._client = stripe.StripeClient(
            api_key, max_network_retries=0, http_client=self._http, **options
        )

    async def create_intent(
        self, *, purchase_id: str, amount_minor: int, currency: str
    ) -> CardIntent:
        """Set a payment up, or return the one that this purchase has."""
        async with _translated():
            intent = await self._client.v1.payment_intents.create_async(
                {
                    "amount": amount_minor,
                    "currency": currency.lower(),
                    "metadata": {"purchase_id": purchase_id},
                },
                {"idempotency_key": f"{purchase_id}:intent"},
            )
        if (intent.amount, intent.currency) != (amount_minor, currency.lower()):
            raise GatewayMismatchError
        return CardIntent(intent.id, str(intent.client_secret), _status(intent.status))

    async def cancel_intent(self, *, purchase_id: str, intent_id: str) -> None:
        """Give a payment up; one that is paid, or gone already, is left as it is."""
        del purchase_id
        try:
            async with _translated():
                # Without a key: the answer to a first try must not be repeated to a later one.
                await self._client.v1.payment_intents.cancel_async(intent_id)
        except GatewayRefusedError:
            return

    async def payment(self, intent_id: str) -> CardPayment:
        """Return how a payment stands now, with every refund and dispute of it."""
        async with _translated():
            intent = await self._client.v1.payment_intents.retrieve_async(
                intent_id, {"expand": ["latest_charge"]}
            )
            refunds = [_refund(each) for each in await self._refunds(intent_id)]
            received = self._received_minor(intent)
            # A dispute needs a charge; before there is one nobody needs to be asked.
            disputed = await self._disputed_minor(intent) if received else 0
        return CardPayment(
            intent_id=intent.id,
            status=_status(intent.status),
            currency=intent.currency,
            amount_minor=intent.amount,
            received_minor=received,
            refunded_minor=sum(r.amount_minor for r in refunds if not r.is_failed),
            disputed_minor=disputed,
            paid_at=_paid_at(intent) if received else None,
            refunds=refunds,
        )

    async def refund(self, *, refund_id: str, intent_id: str, amount_minor: int) -> CardRefund:
        """Give back a part of a payment; a repeat answers the same, however late it comes."""
        async with _translated():
            # Stripe forgets keys after a day; our own id it keeps.
            for known in await self._refunds(intent_id):
                if _refund(known).refund_id == refund_id:
                    return _refund(known)
            made = await self._client.v1.refunds.create_async(
                {
                    "payment_intent": intent_id,
                    "amount": amount_minor,
                    "metadata": {"refund_id": refund_id},
                },
                {"idempotency_key": refund_id},
            )
        return _refund(made)

    async def intent_of(self, kind: str, object_id: str) -> str | None:
        """Return which payment an event's object belongs to, as Stripe says when asked."""
        del kind
        service = _PARENTS.get(object_id[:3])
        try:
            async with _translated():
                if object_id.startswith("pi_"):
                    found: Any = await self._client.v1.payment_intents.retrieve_async(object_id)
                    return str(found.id)
                if service is None:
                    return None
                found = await getattr(self._client.v1, service).retrieve_async(object_id)
        except GatewayRefusedError:
            return None
        return _id_of(found.payment_intent)

    async def news(self, since: datetime | None) -> Sequence[GatewayNews]:
        """Return what happened from then on, or in the last 30 days, which is all there is."""
        asked: dict[str, Any] = {"types": list(_NEWS), "limit": PAGE}
        if since is not None:
            asked["created"] = {"gte": int(since.timestamp())}
        async with _translated():
            page = await self._client.v1.events.list_async(asked)  # type: ignore[arg-type]
            return [_news(event) async for event in page.auto_paging_iter()]

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def _refunds(self, intent_id: str) -> list[stripe.Refund]:
        page = await self._client.v1.refunds.list_async(
            {"payment_intent": intent_id, "limit": PAGE}
        )
        # Asked by payment, and looked at again: another's refund must never count for this one.
        return [
            each
            async for each in page.auto_paging_iter()
            if _id_of(each.payment_intent) == intent_id
        ]

    def _received_minor(self, intent: stripe.PaymentIntent) -> int:
        return int(intent.amount_received or 0)

    async def _disputed_minor(self, intent: stripe.PaymentIntent) -> int:
        page = await self._client.v1.disputes.list_async(
            {"payment_intent": intent.id, "limit": PAGE}
        )
        return sum(
            [
                each.amount
                async for each in page.auto_paging_iter()
                if each.status in _WITHDRAWN and _id_of(each.payment_intent) == intent.id
            ]
        )


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Turn the library's errors into ours; their messages may hold what was sent, so none stays."""
    try:
        yield
    except stripe.APIConnectionError as error:
        raise GatewayOutcomeUnknownError from error
    except (stripe.InvalidRequestError, stripe.CardError) as error:
        msg = f"The payment gateway refuses: {error.code or 'invalid request'}."
        raise GatewayRefusedError(msg) from error
    except stripe.IdempotencyError as error:
        msg = "The gateway knows this key for something else."
        raise GatewayMismatchError(msg) from error
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        msg = "The payment gateway does not take our key."
        raise GatewayUnavailableError(msg) from error
    except stripe.StripeError as error:
        raise GatewayUnavailableError from error


def _status(text: str) -> IntentStatus:
    # A status that comes later than this code is one to wait with.
    return _STATUSES.get(text, IntentStatus.PROCESSING)


def _paid_at(intent: stripe.PaymentIntent) -> datetime:
    charge = intent.latest_charge
    created = intent.created if charge is None or isinstance(charge, str) else charge.created
    return datetime.fromtimestamp(created, UTC)


def _news(event: stripe.Event) -> GatewayNews:
    about = str(event.data.object["id"])
    return GatewayNews(event.id, event.type, about, datetime.fromtimestamp(event.created, UTC))


def _refund(refund: stripe.Refund) -> CardRefund:
    metadata = refund.metadata.to_dict() if refund.metadata else {}
    return CardRefund(
        gateway_id=refund.id,
        refund_id=metadata.get("refund_id"),
        amount_minor=refund.amount,
        is_failed=refund.status in {"failed", "canceled"},
    )


def _id_of(reference: Any) -> str | None:
    """Return the id of what is given as an id or as a whole object."""
    return reference if reference is None or isinstance(reference, str) else str(reference.id)
