"""
Events: what happened to something of a user's, told to streams and webhooks.

Every kind is registered here with one line for people; an event of another kind is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.errors import InvariantError

type Json = str | int | bool | Sequence[Json] | Mapping[str, Json] | None
"""What an event carries: JSON without floats, since an amount never is one."""

KINDS: Mapping[str, str] = {
    # Payouts; the name after the point is the status that the payout has come to.
    "payout.awaiting_approval": "Amount and fee are held, and approvers are asked.",
    "payout.ready": "It is held and approved, and the next batch takes it.",
    "payout.batched": "It is in a batch on its way to the chain.",
    "payout.settled": "The chain has confirmed it to the policy's depth.",
    "payout.refused": "It was never held: balance or limit did not allow it.",
    "payout.rejected": "An approver said no, and the hold is released.",
    "payout.cancelled": "Its requester took it back, and the hold is released.",
    "payout.expired": "Approvals did not come in time, and the hold is released.",
    "payout.refunded": "The chain could not move it, and the money is available again.",
    # Pockets; the name after the point is the status that a transfer to or from one has come to.
    "pocket.created": "The user has a wallet of their own on a chain.",
    "pocket_transfer.awaiting_approval": "Its money is held, and approvers are asked.",
    "pocket_transfer.ready": "It is held and approved, and leaves as soon as it can.",
    "pocket_transfer.batched": "It is in a chain transaction, or in a batch that will make one.",
    "pocket_transfer.settled": "The chain has confirmed it, and the books have both sides.",
    "pocket_transfer.refused": "It was never held: balance or limit did not allow it.",
    "pocket_transfer.rejected": "An approver said no, and the hold is released.",
    "pocket_transfer.cancelled": "Its requester took it back, and the hold is released.",
    "pocket_transfer.expired": "Approvals did not come in time, and the hold is released.",
    "pocket_transfer.refunded": "The chain could not move it, and the money is where it was.",
    # Bulk payouts.
    "payout_run.awaiting_approval": "The whole run is held, and approvers are asked.",
    "payout_run.paying": "Every line is decided on, and some are on their way.",
    "payout_run.lines_ended": "Some of its lines have ended together, all in one way.",
    "payout_run.finished": "Every line has ended.",
    # Deposits.
    "deposit.seen": "A payment to one of the user's addresses is in no block yet, or no longer.",
    "deposit.confirming": "It is in a block that is not yet deep enough.",
    "deposit.credited": "It is deep enough, and in the ledger.",
    "deposit.forgotten": "It was replaced or reorganized away before it was credited.",
    "deposit.reversed": "It left the chain after it was credited, and the ledger took it back.",
    # Transfers between users, and requests for money.
    "transfer.sent": "The user sent money to another user.",
    "transfer.received": "Another user sent the user money; it is available.",
    "money_request.received": "Somebody asks the user for money.",
    "money_request.paid": "What the user asked for was paid, by one transfer.",
    "money_request.declined": "Whoever was asked said no.",
    "money_request.cancelled": "Whoever asked the user for money took it back.",
    # Purchases; but for one, the name after the point is the status that it has come to.
    "purchase.awaiting_payment": "It is open, and says where to pay.",
    "purchase.confirming": "A payment was seen, and is not final yet.",
    "purchase.partially_paid": "Less than quoted was credited, and the rest may still come.",
    "purchase.completed": "All that was quoted is credited.",
    "purchase.underpaid": "Time is over, and what was paid is credited pro rata.",
    "purchase.expired": "Time is over, and nothing was bought.",
    "purchase.cancelled": "It was given up before anything was paid.",
    "purchase.refused": "It was never opened: the quote, a limit or the gateway did not allow it.",
    "purchase.refunded": "All that it bought was given back for what was paid.",
    "purchase.clawed_back": "A payment was taken back, and with it what it had bought.",
    "purchase.credited": "What a payment bought is on the balance.",
    # Mixes; the name after the point is the status that it has come to.
    "mix.awaiting_funds": "It is open, and says where to pay in.",
    "mix.confirming": "A deposit was seen, and is not final yet.",
    "mix.mixing": "A deposit is in the house, and leaves in parts.",
    "mix.done": "Every part has left, or ended otherwise.",
    "mix.expired": "Time is over, and nothing came.",
    "mix.refunded": "Nothing of what came was mixed; it is available.",
    "mix.cancelled": "It was given up before a part left, and what had come is available.",
    "mix.refused": "It was never opened: the user, an address or a limit did not allow it.",
    # KYC; the name after the point is the status that the application has come to.
    "kyc_application.in_review": "Reviewers look at it.",
    "kyc_application.information_requested": "A reviewer asks the applicant for more documents.",
    "kyc_application.approved": "The level is granted.",
    "kyc_application.rejected": "A reviewer said no.",
    "kyc_application.withdrawn": "The applicant took it back.",
    "kyc_application.expired": "It was not decided, or the applicant did not answer, in time.",
    "kyc_application.lapsed": "A document of an approved application has expired.",
    "kyc_application.revoked": "An owner took the level away that it had granted.",
    "kyc_application.reminded": "The applicant still owes documents.",
    "kyc_application.lapsing": "A document of an approved application is going to expire.",
    "kyc_level.changed": "The user has another level, and with it other limits.",
    "kyc_review.requested": "To each reviewer: an application awaits a decision.",
    "kyc_review.reminded": "To each reviewer: an application still awaits a decision.",
    # Webhooks.
    "webhook_endpoint.pinged": "Somebody asked for a test of one endpoint; only that one gets it.",
    "webhook_endpoint.disabled": "Deliveries failed for days, and the endpoint gets no more.",
}
"""Every kind of event, and what it says of its resource."""


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something that happened to one resource of one user.

    ``data`` is shown to the user as it is: amounts as decimal strings, and never a secret.

    Raises:
        InvariantError: The kind is not registered, or the data holds what is no ``Json``.
    """

    user_id: str
    kind: str
    resource_id: str
    data: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            msg = f"No kind of event is called {self.kind!r}; see domain.events."
            raise InvariantError(msg)
        _check(self.data)


def _check(value: object) -> None:
    """Pass if this is JSON without floats."""
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        for held in value.values():
            _check(held)
    elif isinstance(value, list | tuple):
        for held in value:
            _check(held)
    else:
        msg = f"An event cannot carry a value of type {type(value).__name__}."
        raise InvariantError(msg)
