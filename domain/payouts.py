"""What is said about payouts between API, workflows and the database. Plain values."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class PayoutStatus(StrEnum):
    """Where a payout stands."""

    AWAITING_APPROVAL = "awaiting_approval"
    """Amount and fee are held; people are asked."""
    READY = "ready"
    """Held and approved; the next batch takes it."""
    BATCHED = "batched"
    """In a batch on its way to the chain: only forward from here, or refunded by a new entry."""
    SETTLED = "settled"
    """Confirmed on the chain to the policy's depth. Final, as are all that follow."""
    REFUSED = "refused"
    """Never held anything: balance or limit did not allow it."""
    REJECTED = "rejected"
    """An approver said no; the hold is released."""
    CANCELLED = "cancelled"
    """The requester took it back in time; the hold is released."""
    EXPIRED = "expired"
    """Approvals did not arrive in time; the hold is released."""
    REFUNDED = "refunded"
    """The chain could not move it; the money is back on the available balance."""

    @property
    def is_final(self) -> bool:
        """Tell whether nothing can happen to the payout any more."""
        return self not in OPEN_STATUSES


OPEN_STATUSES = frozenset(
    {PayoutStatus.AWAITING_APPROVAL, PayoutStatus.READY, PayoutStatus.BATCHED}
)


class Priority(StrEnum):
    """How soon a payout leaves, and how much its chain may ask for it."""

    ECONOMY = "economy"
    """Waits for company and for low fees."""
    NORMAL = "normal"
    URGENT = "urgent"
    """Leaves at once, at any fee below the chain's ceiling."""


class DecisionKind(StrEnum):
    """What an approver said."""

    APPROVE = "approve"
    REJECT = "reject"
    AUTHORIZE = "authorize"
    """The requester's own, by their second factor: what moves from or to a pocket needs it."""


@dataclass(frozen=True)
class PayoutRequest:
    """A payout as it was asked for. Amounts are decimal strings of minor units, as in JSON."""

    payout_id: str
    user_id: str
    principal: str
    idempotency_key: str
    request_hash: str
    asset: str
    amount: str
    destination: str
    note: str | None = None
    priority: Priority = Priority.NORMAL
    retry_of: str | None = None
    """The payout that it pays again: a line of a run that the chain did not pay."""

    @property
    def amount_minor(self) -> int:
        """The amount in minor units."""
        return int(self.amount)


@dataclass(frozen=True)
class Acceptance:
    """What became of a request: held, or refused and why."""

    payout_id: str
    status: PayoutStatus
    request_hash: str
    reason_code: str | None = None
    reason: str | None = None
    approvals_required: int = 0
    approval_expires_at: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """One approver's word on one payout; ``decision_id`` makes a repeat harmless."""

    decision_id: str
    payout_id: str
    approver_id: str
    kind: DecisionKind
    second_factor: str
    note: str | None = None


@dataclass(frozen=True)
class DecisionOutcome:
    """Where a payout stands after a decision."""

    status: PayoutStatus
    approvals: int
    approvals_required: int


@dataclass(frozen=True)
class PayoutOutcome:
    """Where a payout stands, and the chain's id for it once there is one."""

    payout_id: str
    status: PayoutStatus
    reason_code: str | None = None
    txid: str | None = None
    run_id: str | None = None
    """The bulk payout whose line it is."""
    mix_id: str | None = None
    """The mix whose dole-out it is."""


@dataclass(frozen=True)
class OperatorAction:
    """An operator's hand on a stuck payout."""

    payout_id: str
    operator_id: str
    note: str | None = None
    run_id: str | None = None
    """The bulk payout whose line it is; its workflow is asked then."""
    mix_id: str | None = None
    """The mix whose dole-out it is; its workflow is asked then."""


def request_hash(body: Mapping[str, object]) -> str:
    """Return the SHA-256 of a request's canonical JSON (sorted keys, no spaces), hex."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def approved_content_hash(
    *, payout_id: str, asset: str, amount_minor: int, destination: str
) -> str:
    """Return the SHA-256 of what an approver approves; the signer computes it again."""
    content = "\x1f".join((payout_id, asset, str(amount_minor), destination))
    return hashlib.sha256(content.encode()).hexdigest()
