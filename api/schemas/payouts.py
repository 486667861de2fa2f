"""Payouts as the API speaks of them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from domain.ids import PAYOUT
from domain.payouts import DecisionKind, PayoutStatus, Priority
from payouts.queries import PayoutDetail

PayoutIdText = Annotated[
    str, Field(pattern=id_pattern(PAYOUT), examples=["pay_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]
AmountText = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,78}$",
        description="Minor units (wei, satoshi) as a decimal string, above zero, below 2^256.",
        examples=["150000000000000000"],
    ),
]
AssetText = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,32}$", examples=["ETH"])]

DESTINATION_EXAMPLE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


class PayoutBody(StrictModel):
    """A request to pay an external address."""

    asset: AssetText
    amount: AmountText
    destination: str = Field(min_length=1, max_length=128, examples=[DESTINATION_EXAMPLE])
    note: str | None = Field(default=None, max_length=200, examples=["invoice 4711"])
    priority: Priority = Field(
        default=Priority.NORMAL,
        description="`urgent` leaves at once; `economy` waits longer, for company and low fees.",
    )

    def hashed(self) -> dict[str, Any]:
        """Return what tells this request from others; what came later counts only where given."""
        left_out = set() if "priority" in self.model_fields_set else {"priority"}
        return self.model_dump(mode="json", exclude=left_out)


class DecisionBody(StrictModel):
    """What an approver adds to their decision."""

    note: str | None = Field(default=None, max_length=500, examples=["checked by phone"])


class OperatorBody(StrictModel):
    """What an operator adds to their action."""

    note: str | None = Field(default=None, max_length=500)


class DecisionView(Answer):
    """One approver's decision."""

    id: str
    approver_id: UserIdText
    decision: DecisionKind
    policy_version: int
    second_factor: str
    note: str | None
    decided_at: datetime


class ApprovalsView(Answer):
    """Which approvals a payout has, and how many are missing."""

    required: int
    received: int
    missing: int
    expires_at: datetime | None
    policy_version: int | None
    decisions: list[DecisionView]


class ChainView(Answer):
    """Where the payout is on its chain."""

    chain_id: str
    status: str
    txid: str | None
    account_nonce: int | None
    block_height: int | None
    confirmations: int
    confirmations_required: int
    network_fee: str | None


class EventView(Answer):
    """A line of the payout's history."""

    status: str
    detail: str | None
    at: datetime


class PayoutView(Answer):
    """A payout in a list."""

    id: PayoutIdText
    user_id: UserIdText
    asset: str
    amount: AmountText
    fee: str = Field(description="Service fee in minor units, held with the amount.")
    destination: str
    note: str | None
    priority: Priority
    status: PayoutStatus
    reason_code: str | None
    approvals_required: int
    created_at: datetime
    updated_at: datetime


class PayoutDetailView(PayoutView):
    """A payout with everything about it."""

    approvals: ApprovalsView
    chain: ChainView | None
    network_fee_estimate: str | None = Field(
        description="Its share of the most that its chain transaction can cost; we pay it."
    )
    network_fee_share: str | None = Field(
        description="Its share of what the chain took, in minor units of the native asset."
    )
    history: list[EventView]
    workflow_id: str
    workflow_url: str | None


class ExplanationView(Answer):
    """What the payout waits for."""

    payout_id: PayoutIdText
    status: PayoutStatus
    explanation: str = Field(examples=["Mined; 7 of 12 confirmations."])
    waiting_for: str | None = Field(examples=["confirmations"])


class DecisionOutcomeView(Answer):
    """Where the payout stands after a decision."""

    payout_id: PayoutIdText
    status: PayoutStatus
    approvals_received: int
    approvals_required: int


class OutcomeView(Answer):
    """Where the payout stands."""

    payout_id: PayoutIdText
    status: PayoutStatus
    reason_code: str | None
    txid: str | None


def payout_view(payout: Any) -> PayoutView:
    """Return a payout as it appears in lists."""
    return PayoutView(**_shared(payout))


def payout_detail_view(
    detail: PayoutDetail, *, workflow_id: str, workflow_url: str | None
) -> PayoutDetailView:
    """Return a payout with everything about it."""
    return PayoutDetailView(
        **_shared(detail.payout),
        **payout_parts(detail),
        network_fee_estimate=_text(detail.payout.network_fee_estimate_minor),
        network_fee_share=_text(detail.payout.network_fee_minor),
        workflow_id=workflow_id,
        workflow_url=workflow_url,
    )


def payout_parts(detail: PayoutDetail) -> dict[str, Any]:
    """Return what payouts of every route show alike: approvals, place on the chain, history."""
    return {
        "approvals": _approvals(detail),
        "chain": _chain(detail),
        "history": [EventView(status=e.status, detail=e.detail, at=e.at) for e in detail.events],
    }


def _text(amount_minor: int | None) -> str | None:
    return None if amount_minor is None else str(amount_minor)


def _shared(payout: Any) -> dict[str, Any]:
    return {
        "id": payout.id,
        "user_id": payout.user_id,
        "asset": payout.asset,
        "amount": str(payout.amount_minor),
        "fee": str(payout.fee_minor),
        "destination": payout.destination,
        "note": payout.note,
        "priority": payout.priority,
        "status": payout.status,
        "reason_code": payout.reason_code,
        "approvals_required": payout.approvals_required,
        "created_at": payout.created_at,
        "updated_at": payout.updated_at,
    }


def _approvals(detail: PayoutDetail) -> ApprovalsView:
    received = sum(d.decision == DecisionKind.APPROVE for d in detail.decisions)
    required = detail.payout.approvals_required
    is_open = detail.payout.status == PayoutStatus.AWAITING_APPROVAL
    return ApprovalsView(
        required=required,
        received=received,
        missing=max(0, required - received) if is_open else 0,
        expires_at=detail.payout.approval_expires_at,
        policy_version=detail.payout.policy_version,
        decisions=[
            DecisionView(
                id=d.id,
                approver_id=d.approver_id,
                decision=DecisionKind(d.decision),
                policy_version=d.policy_version,
                second_factor=d.second_factor,
                note=d.note,
                decided_at=d.decided_at,
            )
            for d in detail.decisions
        ],
    )


def _chain(detail: PayoutDetail) -> ChainView | None:
    row = detail.chain_transaction
    if row is None:
        return None
    fee_minor = row.network_fee_minor
    return ChainView(
        chain_id=row.chain_id,
        status=row.status,
        txid=row.txid,
        account_nonce=row.account_nonce,
        block_height=row.block_height,
        confirmations=detail.confirmations,
        confirmations_required=detail.chain.confirmations_min,
        network_fee=None if fee_minor is None else str(fee_minor),
    )


ListScope = Literal["mine", "all"]
