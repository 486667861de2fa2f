"""Payment intents and their charges; https://docs.stripe.com/payments/paymentintents/lifecycle."""

import secrets
from collections.abc import Mapping
from typing import Any

from devnet.stripe_server import disputes
from devnet.stripe_server.errors import (
    CardDeclinedError,
    InvalidParameterError,
    InvalidRequestError,
)
from devnet.stripe_server.forms import check_known, integer, required, values
from devnet.stripe_server.store import Store, Thing
from devnet.stripe_server.webhooks import announce

AMOUNT_MIN = 50
"""Least charge in US dollar cents; https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts."""

DECLINES: Mapping[str, str] = {
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_visa_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedExpiredCard": "expired_card",
}
CHALLENGED = frozenset({"pm_card_authenticationRequired", "pm_card_threeDSecure2Required"})
GOOD = frozenset(
    {
        "pm_card_visa",
        "pm_card_mastercard",
        "pm_card_createDispute",
        "pm_card_createDisputeInquiry",
        "pm_card_pendingRefund",
        "pm_card_refundFail",
        "pm_card_delayed",
    }
)
"""Test cards; https://docs.stripe.com/testing. The last one is ours: it is slow to decide."""

_CREATED_WITH = frozenset(
    {
        "amount",
        "currency",
        "metadata",
        "description",
        "payment_method",
        "confirm",
        "automatic_payment_methods",
        "allowed_payment_method_types",
        "payment_method_types",
        "capture_method",
        "receipt_email",
        "statement_descriptor",
        "expand",
    }
)
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation")
_CANCELLABLE = (*_CONFIRMABLE, "requires_action", "requires_capture")


def create(store: Store, form: Mapping[str, Any]) -> Thing:
    """Make an intent, and confirm it at once if asked to."""
    check_known(form, _CREATED_WITH)
    amount, currency = integer(form, "amount"), required(form, "currency")
    if currency not in ("usd", "eur", "gbp"):
        msg = f"Invalid currency: {currency}."
        raise InvalidParameterError(msg, param="currency")
    if amount < AMOUNT_MIN:
        msg = f"Amount must be at least {AMOUNT_MIN} {currency} minor units."
        raise InvalidParameterError(msg, code="amount_too_small", param="amount")
    intent = store.add(
        "payment_intent",
        amount=amount,
        amount_received=0,
        currency=currency,
        metadata=dict(form.get("metadata") or {}),
        description=form.get("description"),
        status="requires_payment_method",
        payment_method=None,
        latest_charge=None,
        last_payment_error=None,
        next_action=None,
        canceled_at=None,
        cancellation_reason=None,
        payment_method_types=["card"],
        capture_method=form.get("capture_method", "automatic"),
    )
    intent["client_secret"] = f"{intent['id']}_secret_{secrets.token_hex(12)}"
    announce(store, "payment_intent.created", intent)
    if form.get("payment_method"):
        _attach(intent, str(form["payment_method"]))
    if form.get("confirm") == "true":
        return confirm(store, intent["id"], {})
    return intent


def retrieve(store: Store, intent_id: str, query: Mapping[str, Any]) -> Thing:
    """Return an intent, with its charge where that is asked for."""
    intent = store.get("payment_intent", intent_id)
    if "latest_charge" in values(query, "expand") and intent["latest_charge"]:
        return {**intent, "latest_charge": store.get("charge", intent["latest_charge"])}
    return intent


def confirm(store: Store, intent_id: str, form: Mapping[str, Any]) -> Thing:
    """Pay with a test card."""
    check_known(
        form,
        {"payment_method", "client_secret", "return_url", "expand", "use_stripe_sdk", "key"},
    )
    intent = store.get("payment_intent", intent_id)
    if intent["status"] not in _CONFIRMABLE:
        raise _unexpected(intent, "confirm")
    if form.get("payment_method"):
        _attach(intent, str(form["payment_method"]))
    card = intent["payment_method"]
    if card is None:
        msg = "You cannot confirm this PaymentIntent because it's missing a payment method."
        raise InvalidRequestError(msg, code="payment_intent_unexpected_state")
    if card in DECLINES:
        return _decline(store, intent, DECLINES[card])
    if card in CHALLENGED:
        intent.update(status="requires_action", next_action={"type": "use_stripe_sdk"})
        announce(store, "payment_intent.requires_action", intent)
        return intent
    if card == "pm_card_delayed":
        intent["status"] = "processing"
        announce(store, "payment_intent.processing", intent)
        return intent
    return succeed(store, intent)


def cancel(store: Store, intent_id: str, form: Mapping[str, Any]) -> Thing:
    """Give an intent up that is not paid."""
    check_known(form, {"cancellation_reason", "expand"})
    intent = store.get("payment_intent", intent_id)
    if intent["status"] not in _CANCELLABLE:
        raise _unexpected(intent, "cancel")
    intent.update(
        status="canceled",
        canceled_at=store.now(),
        cancellation_reason=form.get("cancellation_reason"),
        next_action=None,
    )
    announce(store, "payment_intent.canceled", intent)
    return intent


def decide(store: Store, intent_id: str, form: Mapping[str, Any]) -> Thing:
    """Let the customer pass a challenge, or the network decide: ``outcome`` succeed or fail."""
    intent = store.get("payment_intent", intent_id)
    if intent["status"] not in ("requires_action", "processing"):
        raise _unexpected(intent, "decide on")
    intent["next_action"] = None
    if form.get("outcome", "succeed") == "succeed":
        return succeed(store, intent)
    intent.update(status="requires_payment_method", payment_method=None)
    announce(store, "payment_intent.payment_failed", intent)
    return intent


def succeed(store: Store, intent: Thing) -> Thing:
    """Charge the card."""
    charge = store.add(
        "charge",
        amount=intent["amount"],
        amount_captured=intent["amount"],
        amount_refunded=0,
        currency=intent["currency"],
        payment_intent=intent["id"],
        payment_method=intent["payment_method"],
        metadata=dict(intent["metadata"]),
        status="succeeded",
        paid=True,
        captured=True,
        refunded=False,
        disputed=False,
    )
    intent.update(
        status="succeeded",
        amount_received=intent["amount"],
        latest_charge=charge["id"],
        last_payment_error=None,
    )
    announce(store, "charge.succeeded", charge)
    announce(store, "payment_intent.succeeded", intent)
    if intent["payment_method"] == "pm_card_createDispute":
        disputes.open_dispute(store, charge["id"], {})
    if intent["payment_method"] == "pm_card_createDisputeInquiry":
        disputes.open_dispute(store, charge["id"], {"status": "warning_needs_response"})
    return intent


def _decline(store: Store, intent: Thing, code: str) -> Thing:
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        last_payment_error={"code": "card_declined", "decline_code": code, "type": "card_error"},
    )
    announce(store, "payment_intent.payment_failed", intent)
    raise CardDeclinedError(code, intent)


def _attach(intent: Thing, card: str) -> None:
    if card not in GOOD | DECLINES.keys() | CHALLENGED:
        msg = f"No such PaymentMethod: '{card}'"
        raise InvalidParameterError(msg, code="resource_missing", param="payment_method")
    intent.update(payment_method=card, status="requires_confirmation")


def _unexpected(intent: Thing, verb: str) -> InvalidRequestError:
    msg = f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}."
    return InvalidRequestError(msg, code="payment_intent_unexpected_state")
