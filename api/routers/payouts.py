"""Payouts: ask, look, take back, decide; and an operator's hand on what is stuck."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.dependencies import (
    IdempotencyKey,
    PayoutsWritePrincipal,
    ReadPrincipal,
    SecondFactor,
    State,
    require_role,
)
from api.pagination import PageQuery, listed
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.routers.mixes import own_mixes_of
from api.schemas.base import Listed, id_pattern
from api.schemas.payouts import (
    AssetText,
    DecisionBody,
    DecisionOutcomeView,
    ExplanationView,
    ListScope,
    OperatorBody,
    OutcomeView,
    PayoutBody,
    PayoutDetailView,
    PayoutView,
    payout_detail_view,
    payout_view,
)
from api.state import AppState
from domain.errors import (
    AddressDeniedError,
    AlreadyDecidedError,
    AmountOutOfRangeError,
    ApprovalExpiredError,
    DestinationCoolingDownError,
    DestinationNotInBookError,
    ForbiddenDestinationError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    InsufficientAvailableBalanceError,
    InternalAssetError,
    InvalidAddressError,
    InvalidAmountError,
    InvalidCursorError,
    LimitExceededError,
    OwnRequestError,
    PayoutNotFoundError,
    PayoutStateError,
    RoleMissingError,
    ScreeningUnavailableError,
    UnknownAssetError,
    ValidationError,
    WalletFrozenError,
    WorkflowEngineUnavailableError,
)
from domain.ids import DECISION, PAYOUT, new_id
from domain.payouts import Decision, DecisionKind, OperatorAction, PayoutOutcome, PayoutStatus
from domain.workflow_ids import payout_workflow_id
from identity.principals import Principal
from infra.paging import Position
from models.identity import Role
from models.payouts import Payout
from payouts.explain import explain
from payouts.queries import list_payouts as payouts_on
from payouts.queries import payout_detail, payout_for

router = APIRouter(prefix="/v1/payouts", tags=["payouts"])

STAFF = (Role.APPROVER, Role.OPERATOR, Role.AUDITOR, Role.OWNER)
"""Who sees everybody's payouts; parts of mixes are for those who see everybody's mixes."""

PayoutPath = Annotated[str, Path(pattern=id_pattern(PAYOUT))]
Approver = Annotated[Principal, Depends(require_role(Role.APPROVER))]
Operator = Annotated[Principal, Depends(require_role(Role.OPERATOR))]

_ONE = (*SESSION_PROBLEMS, PayoutNotFoundError, ValidationError)
_CHANGE = (
    *BODY_PROBLEMS,
    *SESSION_PROBLEMS,
    *SECOND_FACTOR_PROBLEMS,
    PayoutNotFoundError,
    PayoutStateError,
    WorkflowEngineUnavailableError,
)
PAY_PROBLEMS = (
    *SESSION_PROBLEMS,
    *SECOND_FACTOR_PROBLEMS,
    IdempotencyKeyMissingError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyReusedError,
    AmountOutOfRangeError,
    UnknownAssetError,
    InternalAssetError,
    InvalidAddressError,
    ForbiddenDestinationError,
    InsufficientAvailableBalanceError,
    LimitExceededError,
    WalletFrozenError,
    AddressDeniedError,
    DestinationNotInBookError,
    DestinationCoolingDownError,
    ScreeningUnavailableError,
    PayoutStateError,
    WorkflowEngineUnavailableError,
    InternalAssetError,
)
"""What whoever asks for a payout may be answered."""
_DECIDE = (*_CHANGE, RoleMissingError, OwnRequestError, AlreadyDecidedError, ApprovalExpiredError)


@router.post(
    "",
    status_code=202,
    responses=problem_responses(*BODY_PROBLEMS, *PAY_PROBLEMS, InvalidAmountError),
)
async def create_payout(
    body: PayoutBody,
    idempotency_key: IdempotencyKey,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
    response: Response,
) -> PayoutDetailView:
    """
    Freeze the amount and its fee, and pay them out once approved.

    The answer comes after the freeze. Repeating the request with the same `Idempotency-Key` and
    body never pays twice and answers the same.
    """
    payout = await state.payout_requests.submit(
        body, idempotency_key=idempotency_key, principal=principal, second_factor=second_factor
    )
    response.headers["Location"] = f"{state.settings.public_url}{router.prefix}/{payout.id}"
    return await detail_of(state, payout.id, principal)


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_payouts(
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    status: Annotated[PayoutStatus | None, Query()] = None,
    asset: Annotated[AssetText | None, Query()] = None,
) -> Listed[PayoutView]:
    """List payouts, newest first."""
    if scope == "all" and not principal.has_role(*STAFF):
        msg = "Only admins see everybody's payouts."
        raise RoleMissingError(msg)
    async with state.database.transaction() as session:
        rows = await payouts_on(
            session,
            page,
            user_id=None if scope == "all" else principal.user_id,
            status=status,
            asset=asset,
            own_mixes_of=own_mixes_of(principal),
        )
    return listed(rows, page, item=payout_view, position=_position)


@router.get("/{payout_id}", responses=problem_responses(*_ONE))
async def get_payout(
    payout_id: PayoutPath, principal: ReadPrincipal, state: State
) -> PayoutDetailView:
    """Return a payout with its approvals, its place on the chain and its history."""
    return await detail_of(state, payout_id, principal)


@router.get("/{payout_id}/explain", responses=problem_responses(*_ONE))
async def explain_payout(
    payout_id: PayoutPath, principal: ReadPrincipal, state: State
) -> ExplanationView:
    """Say in one sentence what the payout waits for."""
    async with state.database.transaction() as session:
        detail = await payout_detail(
            session,
            payout_id,
            user_id=_visible_to(principal),
            own_mixes_of=own_mixes_of(principal),
        )
        explanation = await explain(session, detail, now=state.clock.now())
    return ExplanationView(
        payout_id=payout_id,
        status=PayoutStatus(detail.payout.status),
        explanation=explanation.sentence,
        waiting_for=explanation.waiting_for,
    )


@router.post("/{payout_id}/cancellation", responses=problem_responses(*_CHANGE))
async def cancel_payout(
    payout_id: PayoutPath,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
) -> OutcomeView:
    """Take a payout back that no batch has taken yet; the money is available again at once."""
    async with state.database.transaction() as session:
        _check_alone(await payout_for(session, payout_id, user_id=principal.user_id))
    await second_factor.require()
    return _outcome(await state.payout_workflows.cancel(payout_id))


@router.post("/{payout_id}/approvals", responses=problem_responses(*_DECIDE))
async def approve_payout(
    payout_id: PayoutPath,
    body: DecisionBody,
    principal: Approver,
    second_factor: SecondFactor,
    state: State,
) -> DecisionOutcomeView:
    """Approve a payout; the last approval needed sets it free."""
    return await _decide(state, payout_id, principal, second_factor, DecisionKind.APPROVE, body)


@router.post("/{payout_id}/rejections", responses=problem_responses(*_DECIDE))
async def reject_payout(
    payout_id: PayoutPath,
    body: DecisionBody,
    principal: Approver,
    second_factor: SecondFactor,
    state: State,
) -> DecisionOutcomeView:
    """Reject a payout; one rejection ends it and releases the money."""
    return await _decide(state, payout_id, principal, second_factor, DecisionKind.REJECT, body)


@router.post("/{payout_id}/refunds", responses=problem_responses(*_CHANGE, RoleMissingError))
async def refund_payout(
    payout_id: PayoutPath,
    body: OperatorBody,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
) -> OutcomeView:
    """Refund a payout that is stuck in a batch and was never signed."""
    action = await _operator_action(state, payout_id, principal, second_factor, body)
    return _outcome(await state.payout_workflows.refund(action))


@router.post("/{payout_id}/retries", responses=problem_responses(*_CHANGE, RoleMissingError))
async def retry_payout(
    payout_id: PayoutPath,
    body: OperatorBody,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
) -> OutcomeView:
    """Put a payout whose chain transaction was given up into another batch."""
    action = await _operator_action(state, payout_id, principal, second_factor, body)
    return _outcome(await state.payout_workflows.retry(action))


async def _decide(
    state: AppState,
    payout_id: str,
    principal: Principal,
    second_factor: SecondFactor,
    kind: DecisionKind,
    body: DecisionBody,
) -> DecisionOutcomeView:
    async with state.database.transaction() as session:
        payout = await payout_for(
            session, payout_id, user_id=None, own_mixes_of=own_mixes_of(principal)
        )
        _check_alone(payout)
    proof = await second_factor.require()
    decision = Decision(
        decision_id=new_id(DECISION),
        payout_id=payout_id,
        approver_id=principal.user_id,
        kind=kind,
        second_factor=proof,
        note=body.note,
    )
    outcome = await state.payout_workflows.decide(decision)
    return DecisionOutcomeView(
        payout_id=payout_id,
        status=outcome.status,
        approvals_received=outcome.approvals,
        approvals_required=outcome.approvals_required,
    )


async def _operator_action(
    state: AppState,
    payout_id: str,
    principal: Principal,
    second_factor: SecondFactor,
    body: OperatorBody,
) -> OperatorAction:
    async with state.database.transaction() as session:
        payout = await payout_for(session, payout_id, user_id=None)
    await second_factor.require()
    return OperatorAction(
        payout_id, principal.user_id, body.note, run_id=payout.run_id, mix_id=payout.mix_id
    )


def _check_alone(payout: Payout) -> None:
    """Refuse to treat a line of a bulk payout as a payout of its own."""
    if payout.run_id is not None:
        msg = f"It is line {payout.line_number} of {payout.run_id}; that is where it is decided on."
        raise PayoutStateError(msg)
    if payout.mix_id is not None:
        msg = f"It is a part of {payout.mix_id}; that is paused or held as a whole."
        raise PayoutStateError(msg)


async def detail_of(state: AppState, payout_id: str, principal: Principal) -> PayoutDetailView:
    """Return a payout with everything about it, if the caller may see it."""
    async with state.database.transaction() as session:
        detail = await payout_detail(
            session,
            payout_id,
            user_id=_visible_to(principal),
            own_mixes_of=own_mixes_of(principal),
        )
    workflow_id = payout_workflow_id(payout_id)
    return payout_detail_view(
        detail, workflow_id=workflow_id, workflow_url=state.workflow_url(workflow_id)
    )


def _visible_to(principal: Principal) -> str | None:
    return None if principal.has_role(*STAFF) else principal.user_id


def _position(payout: Payout) -> Position:
    return Position(payout.created_at, payout.id)


def _outcome(outcome: PayoutOutcome) -> OutcomeView:
    return OutcomeView(
        payout_id=outcome.payout_id,
        status=outcome.status,
        reason_code=outcome.reason_code,
        txid=outcome.txid,
    )
