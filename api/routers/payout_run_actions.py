"""Bulk payouts: start a draft, decide on a run or on lines of it, take them back; resume."""

from typing import Annotated

from fastapi import APIRouter, Depends

from api.dependencies import (
    IdempotencyKey,
    OptionalIdempotencyKey,
    PayoutsWritePrincipal,
    SecondFactor,
    State,
    require_role,
)
from api.problems import BODY_PROBLEMS, SECOND_FACTOR_PROBLEMS, problem_responses
from api.run_details import ONE_RUN, RunPath, detail_of
from api.schemas.payout_runs import (
    RunCancellationBody,
    RunDecisionBody,
    RunDetailView,
    RunStandingView,
    run_standing_view,
)
from api.state import AppState
from domain.errors import (
    AlreadyDecidedError,
    ApprovalExpiredError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    InsufficientAvailableBalanceError,
    InvalidLinesError,
    LimitExceededError,
    OwnRequestError,
    PayoutRunStateError,
    RoleMissingError,
    UnknownAssetError,
    WalletFrozenError,
    WorkflowEngineUnavailableError,
)
from domain.ids import ACTION, DECISION, derived_id, new_id
from domain.payouts import DecisionKind
from domain.runs import RunCancellation, RunDecisionRequest, parse_lines
from identity.principals import Principal
from models.identity import Role
from runs.queries import started_run_for

router = APIRouter(prefix="/v1/payout-runs", tags=["payout-runs"])

Approver = Annotated[Principal, Depends(require_role(Role.APPROVER))]

Operator = Annotated[Principal, Depends(require_role(Role.OPERATOR))]

_CHANGE = (
    *ONE_RUN,
    *BODY_PROBLEMS,
    *SECOND_FACTOR_PROBLEMS,
    PayoutRunStateError,
    InvalidLinesError,
    WorkflowEngineUnavailableError,
)
_DECIDE = (*_CHANGE, RoleMissingError, OwnRequestError, AlreadyDecidedError, ApprovalExpiredError)


@router.post(
    "/{run_id}/start",
    status_code=202,
    responses=problem_responses(
        *ONE_RUN,
        *SECOND_FACTOR_PROBLEMS,
        IdempotencyKeyMissingError,
        IdempotencyKeyInvalidError,
        IdempotencyKeyReusedError,
        PayoutRunStateError,
        InsufficientAvailableBalanceError,
        LimitExceededError,
        WalletFrozenError,
        UnknownAssetError,
        WorkflowEngineUnavailableError,
    ),
)
async def start_payout_run(
    run_id: RunPath,
    idempotency_key: IdempotencyKey,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
) -> RunDetailView:
    """
    Check every line again and freeze amounts and fees of all of them, or of none.

    A refused run is a draft as before, and may be started again with another `Idempotency-Key`.
    """
    await state.run_requests.start(
        run_id,
        idempotency_key=idempotency_key,
        principal=principal,
        second_factor=second_factor,
    )
    return await detail_of(state, run_id, principal)


@router.post(
    "/{run_id}/resumption",
    status_code=202,
    responses=problem_responses(
        *ONE_RUN,
        *SECOND_FACTOR_PROBLEMS,
        RoleMissingError,
        PayoutRunStateError,
        WorkflowEngineUnavailableError,
    ),
)
async def resume_payout_run(
    run_id: RunPath, principal: Operator, second_factor: SecondFactor, state: State
) -> RunDetailView:
    """
    Start the workflow of a run again that was ended from outside, as in Temporal's UI.

    Nothing is held or paid twice. If the workflow runs, it only looks at the database again.
    """
    await state.run_requests.resume(run_id, second_factor=second_factor)
    return await detail_of(state, run_id, principal)


@router.post("/{run_id}/approvals", responses=problem_responses(*_DECIDE))
async def approve_payout_run(
    run_id: RunPath,
    body: RunDecisionBody,
    principal: Approver,
    second_factor: SecondFactor,
    state: State,
) -> RunStandingView:
    """Approve a run, or chosen lines of it; the last approval needed sets them free."""
    return await _decide(state, run_id, principal, second_factor, DecisionKind.APPROVE, body)


@router.post("/{run_id}/rejections", responses=problem_responses(*_DECIDE))
async def reject_payout_run(
    run_id: RunPath,
    body: RunDecisionBody,
    principal: Approver,
    second_factor: SecondFactor,
    state: State,
) -> RunStandingView:
    """Reject a run, or chosen lines of it; one rejection ends them and releases their money."""
    return await _decide(state, run_id, principal, second_factor, DecisionKind.REJECT, body)


@router.post(
    "/{run_id}/cancellation",
    responses=problem_responses(*_CHANGE, IdempotencyKeyInvalidError),
)
async def cancel_payout_run(
    run_id: RunPath,
    body: RunCancellationBody,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
    idempotency_key: OptionalIdempotencyKey = None,
) -> RunStandingView:
    """
    Take back what no batch has taken, or chosen lines of it.

    Repeated with the same `Idempotency-Key` it takes back nothing that was made ready since.
    """
    _check_named(body.lines)
    async with state.database.transaction() as session:
        await started_run_for(session, run_id, user_id=principal.user_id)
    await second_factor.require()
    standing = await state.run_workflows.cancel(
        RunCancellation(
            action_id=_action_id(run_id, body.lines, principal, idempotency_key),
            run_id=run_id,
            lines=body.lines,
        )
    )
    return run_standing_view(standing)


def _action_id(run_id: str, lines: str | None, principal: Principal, key: str | None) -> str:
    if key is None:
        return new_id(ACTION)
    return derived_id(ACTION, run_id, lines or "", principal.principal_id, key)


async def _decide(
    state: AppState,
    run_id: str,
    principal: Principal,
    second_factor: SecondFactor,
    kind: DecisionKind,
    body: RunDecisionBody,
) -> RunStandingView:
    _check_named(body.lines)
    async with state.database.transaction() as session:
        await started_run_for(session, run_id, user_id=None)
    proof = await second_factor.require()
    standing = await state.run_workflows.decide(
        RunDecisionRequest(
            decision_id=new_id(DECISION),
            run_id=run_id,
            approver_id=principal.user_id,
            kind=kind,
            second_factor=proof,
            lines=body.lines,
            note=body.note,
        )
    )
    return run_standing_view(standing)


def _check_named(lines: str | None) -> None:
    """Refuse lines that are named wrongly before a code is used up by the request."""
    if lines is not None:
        parse_lines(lines)
