"""
Who may decide on a run, which lines a decision covers, and which have been approved enough by it.

What the policy asks for is what it asks for one payout of the run's total: many small payments are
not smaller than the sum of them.
"""

from collections.abc import Collection, Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    AlreadyDecidedError,
    ApprovalExpiredError,
    OwnRequestError,
    PayoutRunStateError,
    RoleMissingError,
)
from domain.payouts import DecisionKind
from domain.policy import ApprovalRequirement, is_satisfied, requirement
from domain.runs import RunDecisionRequest, RunStatus
from models.identity import Role, User
from models.runs import PayoutRun, RunDecision
from payouts.policy import policy_at


async def decisions_on(session: AsyncSession, run_id: str) -> list[RunDecision]:
    """Return the decisions on a run, oldest first."""
    found = await session.exec(
        select(RunDecision)
        .where(RunDecision.run_id == run_id)
        .order_by(col(RunDecision.decided_at), col(RunDecision.id))
    )
    return list(found)


async def requirement_of(session: AsyncSession, run: PayoutRun) -> ApprovalRequirement:
    """Return what each line of the run needs under the policy that accepted it."""
    policy = await policy_at(session, int(run.policy_version or 0))
    return requirement(policy.document, asset=run.asset, amount_minor=run.total_minor)


async def check_allowed(
    session: AsyncSession,
    run: PayoutRun,
    request: RunDecisionRequest,
    *,
    needed: ApprovalRequirement,
    made: Sequence[RunDecision],
    numbers: Collection[int] | None,
    clock: Clock,
) -> None:
    """
    Refuse a decision that does not count.

    Raises:
        OwnRequestError, RoleMissingError: The approver may not decide on this run.
        AlreadyDecidedError, ApprovalExpiredError, PayoutRunStateError: It is too late.
    """
    if request.approver_id == run.user_id:
        msg = "Nobody decides on a run that they asked for."
        raise OwnRequestError(msg)
    found = await session.exec(
        select(User.roles, User.disabled_at).where(User.id == request.approver_id)
    )
    known = found.first()
    is_approver = known is not None and Role.APPROVER in known[0] and known[1] is None
    if not is_approver or (needed.approvers and request.approver_id not in needed.approvers):
        msg = "The policy does not name you as an approver of this run."
        raise RoleMissingError(msg)
    # First, so that who lost the answer to the deciding approval learns that it was taken.
    is_open = run.status == RunStatus.AWAITING_APPROVAL
    theirs = [d for d in made if d.approver_id == request.approver_id]
    if any(_is_repeated(d, numbers, is_open=is_open) for d in theirs):
        msg = "You have decided on these lines before."
        raise AlreadyDecidedError(msg)
    if not is_open:
        msg = f"The run is {run.status}; there is nothing to decide."
        raise PayoutRunStateError(msg)
    if run.approval_expires_at is not None and clock.now() >= run.approval_expires_at:
        raise ApprovalExpiredError


def _is_repeated(decision: RunDecision, numbers: Collection[int] | None, *, is_open: bool) -> bool:
    if decision.line_numbers is None:
        return True
    if numbers is None:
        # A rejection of all that was left names those lines, and leaves none to decide on.
        return decision.decision == DecisionKind.REJECT and not is_open
    return not set(decision.line_numbers).isdisjoint(numbers)


def may_be_enough(
    decisions: Sequence[RunDecision], *, needed: ApprovalRequirement, requester: str
) -> bool:
    """Tell whether any line at all can have been approved by enough people."""
    approvers = {d.approver_id for d in decisions if d.decision == DecisionKind.APPROVE}
    return is_satisfied(needed, requester=requester, approvers=approvers)


def approved_among(
    numbers: Collection[int],
    decisions: Sequence[RunDecision],
    *,
    needed: ApprovalRequirement,
    requester: str,
) -> list[int]:
    """Return those of these lines that enough people have approved."""
    approvals = [d for d in decisions if d.decision == DecisionKind.APPROVE]
    of_all = {d.approver_id for d in approvals if d.line_numbers is None}
    if is_satisfied(needed, requester=requester, approvers=of_all):
        return list(numbers)
    chosen = [(d.approver_id, frozenset(d.line_numbers)) for d in approvals if d.line_numbers]
    return [
        number
        for number in numbers
        if is_satisfied(
            needed,
            requester=requester,
            approvers=of_all | {approver for approver, lines in chosen if number in lines},
        )
    ]
