"""Disputes: a card's holder takes a payment back; https://docs.stripe.com/disputes/how-disputes-work."""

from collections.abc import Mapping
from typing import Any

from devnet.stripe_server.errors import InvalidRequestError
from devnet.stripe_server.forms import integer
from devnet.stripe_server.store import Store, Thing
from devnet.stripe_server.webhooks import announce

_INQUIRIES = ("warning_needs_response", "warning_under_review", "warning_closed")
_OVER = ("won", "lost", "warning_closed")


def open_dispute(store: Store, charge_id: str, form: Mapping[str, Any]) -> Thing:
    """Dispute a charge: the money is withdrawn at once, but for an inquiry."""
    charge = store.get("charge", charge_id)
    left = charge["amount_captured"] - charge["amount_refunded"]
    status = str(form.get("status", "needs_response"))
    dispute = store.add(
        "dispute",
        amount=integer(form, "amount") if "amount" in form else left,
        currency=charge["currency"],
        charge=charge_id,
        payment_intent=charge["payment_intent"],
        reason=form.get("reason", "fraudulent"),
        status=status,
        is_charge_refundable=status in _INQUIRIES,
        metadata={},
    )
    charge["disputed"] = status not in _INQUIRIES
    announce(store, "charge.dispute.created", dispute)
    if charge["disputed"]:
        announce(store, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def resolve(store: Store, dispute_id: str, status: str) -> Thing:
    """Decide a dispute; one that is won brings the money back."""
    dispute = store.get("dispute", dispute_id)
    if dispute["status"] in _OVER:
        msg = f"This dispute is already closed: {dispute['status']}."
        raise InvalidRequestError(msg)
    dispute["status"] = status
    charge = store.get("charge", dispute["charge"])
    charge["disputed"] = status in ("needs_response", "under_review", "lost")
    if status == "won":
        announce(store, "charge.dispute.funds_reinstated", dispute)
    is_over = status in _OVER
    announce(store, "charge.dispute.closed" if is_over else "charge.dispute.updated", dispute)
    return dispute
