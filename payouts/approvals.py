"""
Who may decide on a payout, and when it has been approved enough.

The payout's row is locked by the caller, so two approvers cannot both be the last one.
"""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    AlreadyDecidedError,
    ApprovalExpiredError,
    OwnRequestError,
    PayoutStateError,
    RoleMissingError,
)
from domain.payouts import (
    Decision,
    DecisionKind,
    DecisionOutcome,
    PayoutStatus,
    approved_content_hash,
)
from domain.pockets import approved_destination
from domain.policy import ApprovalRequirement, is_satisfied, requirement
from models.identity import Role, User
from models.payouts import ApprovalDecision, Payout
from payouts.policy import policy_at


async def record_decision(
    session: AsyncSession, payout: Payout, decision: Decision, *, clock: Clock
) -> DecisionOutcome:
    """
    Store the decision and return where the payout stands with it.

    Raises:
        OwnRequestError, RoleMissingError: The approver may not decide on this payout.
        AlreadyDecidedError, ApprovalExpiredError, PayoutStateError: It is too late.
    """
    made = await decisions_on(session, payout.id)
    if any(known.id == decision.decision_id for known in made):
        return _standing(PayoutStatus(payout.status), payout, made)
    needed = await requirement_of(session, payout)
    await _check_allowed(session, payout, decision, needed=needed, made=made, clock=clock)
    row = ApprovalDecision(
        id=decision.decision_id,
        payout_id=payout.id,
        approver_id=decision.approver_id,
        decision=decision.kind,
        policy_version=int(payout.policy_version or 0),
        payout_hash=content_hash_of(payout),
        second_factor=decision.second_factor,
        note=decision.note,
        decided_at=clock.now(),
    )
    session.add(row)
    await session.flush()
    made = [*made, row]
    if decision.kind == DecisionKind.REJECT:
        return _standing(PayoutStatus.REJECTED, payout, made)
    enough = is_satisfied(needed, requester=payout.user_id, approvers=approvers_among(made))
    status = PayoutStatus.READY if enough else PayoutStatus.AWAITING_APPROVAL
    return _standing(status, payout, made)


async def decisions_on(session: AsyncSession, payout_id: str) -> list[ApprovalDecision]:
    """Return the decisions on a payout, oldest first."""
    found = await session.exec(
        select(ApprovalDecision)
        .where(ApprovalDecision.payout_id == payout_id)
        .order_by(col(ApprovalDecision.decided_at), col(ApprovalDecision.id))
    )
    return list(found)


async def requirement_of(session: AsyncSession, payout: Payout) -> ApprovalRequirement:
    """Return what the payout needs under the policy that accepted it."""
    policy = await policy_at(session, int(payout.policy_version or 0))
    return requirement(policy.document, asset=payout.asset, amount_minor=payout.amount_minor)


def approvers_among(decisions: list[ApprovalDecision]) -> list[str]:
    """Return the ids of those who approved."""
    return [d.approver_id for d in decisions if d.decision == DecisionKind.APPROVE]


def content_hash_of(payout: Payout) -> str:
    """Return the hash of what an approver of this payout approves."""
    return approved_content_hash(
        payout_id=payout.id,
        asset=payout.asset,
        amount_minor=payout.amount_minor,
        destination=approved_destination(
            payout.route,
            payout.user_id,
            payout.chain_id,
            payout.destination,
            quote_id=payout.quote_id,
        ),
    )


async def _check_allowed(
    session: AsyncSession,
    payout: Payout,
    decision: Decision,
    *,
    needed: ApprovalRequirement,
    made: list[ApprovalDecision],
    clock: Clock,
) -> None:
    if decision.approver_id == payout.user_id:
        msg = "Nobody decides on a payout that they asked for."
        raise OwnRequestError(msg)
    roles = await session.exec(
        select(User.roles, User.disabled_at).where(User.id == decision.approver_id)
    )
    known = roles.first()
    is_approver = known is not None and Role.APPROVER in known[0] and known[1] is None
    if not is_approver or (needed.approvers and decision.approver_id not in needed.approvers):
        msg = "The policy does not name you as an approver of this payout."
        raise RoleMissingError(msg)
    if any(known.approver_id == decision.approver_id for known in made):
        msg = "You have decided on this payout before."
        raise AlreadyDecidedError(msg)
    if payout.status == PayoutStatus.EXPIRED or _is_overdue(payout, clock):
        raise ApprovalExpiredError
    if payout.status != PayoutStatus.AWAITING_APPROVAL:
        msg = f"The payout is {payout.status}; there is nothing to decide."
        raise PayoutStateError(msg)


def _is_overdue(payout: Payout, clock: Clock) -> bool:
    is_open = payout.status == PayoutStatus.AWAITING_APPROVAL
    deadline = payout.approval_expires_at
    return is_open and deadline is not None and clock.now() >= deadline


def _standing(
    status: PayoutStatus, payout: Payout, made: list[ApprovalDecision]
) -> DecisionOutcome:
    return DecisionOutcome(status, len(approvers_among(made)), payout.approvals_required)
