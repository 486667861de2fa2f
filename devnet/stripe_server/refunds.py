"""Refunds; https://docs.stripe.com/api/refunds. Never more than is left of a charge."""

from collections.abc import Mapping
from typing import Any

from devnet.stripe_server.errors import InvalidParameterError, InvalidRequestError
from devnet.stripe_server.forms import check_known, integer
from devnet.stripe_server.store import Store, Thing
from devnet.stripe_server.webhooks import announce

_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create(store: Store, form: Mapping[str, Any]) -> Thing:
    """Give back a charge or a part of it."""
    check_known(form, {"payment_intent", "charge", "amount", "metadata", "reason", "expand"})
    charge = _charge(store, form)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = integer(form, "amount") if "amount" in form else left
    if form.get("reason") not in (None, *_REASONS):
        msg = f"Invalid reason: must be one of {', '.join(_REASONS)}"
        raise InvalidParameterError(msg, param="reason")
    if charge["disputed"]:
        msg = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise InvalidRequestError(msg, code="charge_disputed")
    if not left:
        msg = f"Charge {charge['id']} has already been refunded."
        raise InvalidRequestError(msg, code="charge_already_refunded")
    if amount > left:
        msg = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise InvalidRequestError(msg, param="amount")
    is_pending = charge["payment_method"] == "pm_card_pendingRefund"
    refund = store.add(
        "refund",
        amount=amount,
        currency=charge["currency"],
        charge=charge["id"],
        payment_intent=charge["payment_intent"],
        metadata=dict(form.get("metadata") or {}),
        reason=form.get("reason"),
        status="pending" if is_pending else "succeeded",
    )
    _count(store, charge)
    announce(store, "refund.created", refund)
    announce(store, "charge.refunded", charge)
    if charge["payment_method"] == "pm_card_refundFail":
        end(store, refund["id"], "failed")
    return refund


def end(store: Store, refund_id: str, status: str) -> Thing:
    """Let a refund fail, succeed or be cancelled; what is not given back is on the charge again."""
    refund = store.get("refund", refund_id)
    if status == "canceled" and refund["status"] != "pending":
        msg = f"You cannot cancel a refund with a status of {refund['status']}."
        raise InvalidRequestError(msg)
    refund["status"] = status
    charge = store.get("charge", refund["charge"])
    _count(store, charge)
    announce(store, "refund.failed" if status == "failed" else "refund.updated", refund)
    announce(store, "charge.refund.updated", refund)
    return refund


def _count(store: Store, charge: Thing) -> None:
    given_back = sum(
        refund["amount"]
        for refund in store.things["refund"].values()
        if refund["charge"] == charge["id"] and refund["status"] in ("succeeded", "pending")
    )
    charge["amount_refunded"] = given_back
    charge["refunded"] = given_back == charge["amount_captured"]


def _charge(store: Store, form: Mapping[str, Any]) -> Thing:
    if form.get("charge"):
        return store.get("charge", str(form["charge"]))
    if not form.get("payment_intent"):
        msg = "One of the following params should be provided: payment_intent or charge."
        raise InvalidParameterError(msg, code="parameter_missing")
    intent = store.get("payment_intent", str(form["payment_intent"]))
    if not intent["latest_charge"] or intent["status"] != "succeeded":
        msg = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        raise InvalidRequestError(msg, code="payment_intent_unexpected_state")
    return store.get("charge", intent["latest_charge"])
