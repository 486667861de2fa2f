"""KYC for admins: deciding on applications, and taking levels away."""

from typing import Annotated

from fastapi import APIRouter, Depends

from api.dependencies import OwnerPrincipal, SecondFactor, State, require_role
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.routers.kyc import ApplicationPath, UserPath
from api.schemas.kyc import DowngradeBody, KycAnswerBody, KycApprovalBody, StandingView
from api.state import AppState
from domain.errors import (
    KycApplicationNotFoundError,
    KycApplicationStateError,
    OwnRequestError,
    RoleMissingError,
    WorkflowEngineUnavailableError,
)
from domain.ids import DECISION, new_id
from domain.kyc import KycDecisionKind, KycDecisionRequest, KycDowngradeRequest
from identity.principals import Principal
from kyc import queries
from models.identity import Role

router = APIRouter(prefix="/v1/kyc", tags=["kyc"])

Approver = Annotated[Principal, Depends(require_role(Role.APPROVER))]

_DECIDE = (
    *BODY_PROBLEMS,
    *SESSION_PROBLEMS,
    *SECOND_FACTOR_PROBLEMS,
    RoleMissingError,
    OwnRequestError,
    KycApplicationNotFoundError,
    KycApplicationStateError,
    WorkflowEngineUnavailableError,
)


@router.post("/applications/{application_id}/approvals", responses=problem_responses(*_DECIDE))
async def approve_kyc_application(
    application_id: ApplicationPath,
    body: KycApprovalBody,
    principal: Approver,
    second_factor: SecondFactor,
    state: State,
) -> StandingView:
    """Grant the level that somebody else asked for."""
    return await _decide(
        state, application_id, principal, second_factor, KycDecisionKind.APPROVE, body
    )


@router.post("/applications/{application_id}/rejections", responses=problem_responses(*_DECIDE))
async def reject_kyc_application(
    application_id: ApplicationPath,
    body: KycAnswerBody,
    principal: Approver,
    second_factor: SecondFactor,
    state: State,
) -> StandingView:
    """Reject an application; the applicant reads why, and may apply again."""
    return await _decide(
        state, application_id, principal, second_factor, KycDecisionKind.REJECT, body
    )


@router.post(
    "/applications/{application_id}/information-requests", responses=problem_responses(*_DECIDE)
)
async def request_kyc_information(
    application_id: ApplicationPath,
    body: KycAnswerBody,
    principal: Approver,
    second_factor: SecondFactor,
    state: State,
) -> StandingView:
    """Ask the applicant for more documents; the application expires if they do not come."""
    return await _decide(
        state, application_id, principal, second_factor, KycDecisionKind.REQUEST_INFORMATION, body
    )


@router.post("/users/{user_id}/downgrades", responses=problem_responses(*_DECIDE))
async def downgrade_user(
    user_id: UserPath,
    body: DowngradeBody,
    principal: OwnerPrincipal,
    second_factor: SecondFactor,
    state: State,
) -> StandingView:
    """Lower somebody else's level, at once."""
    async with state.database.transaction() as session:
        level = await queries.level_row(session, user_id)
    if level is None or level.application_id is None:
        msg = "The user has no level to be taken away."
        raise KycApplicationStateError(msg)
    proof = await second_factor.require()
    request = KycDowngradeRequest(
        decision_id=new_id(DECISION),
        application_id=level.application_id,
        owner_id=principal.user_id,
        level=body.level,
        reason=body.reason,
        second_factor=proof,
    )
    return StandingView.of(await state.kyc_workflows.downgrade(request, user_id=user_id))


async def _decide(
    state: AppState,
    application_id: str,
    principal: Principal,
    second_factor: SecondFactor,
    kind: KycDecisionKind,
    body: KycApprovalBody | KycAnswerBody,
) -> StandingView:
    async with state.database.transaction() as session:
        application = await queries.application_for(session, application_id, user_id=None)
    proof = await second_factor.require()
    decision = KycDecisionRequest(
        decision_id=new_id(DECISION),
        application_id=application_id,
        reviewer_id=principal.user_id,
        kind=kind,
        revision=body.revision,
        second_factor=proof,
        note=body.note,
    )
    standing = await state.kyc_workflows.decide(decision, user_id=application.user_id)
    return StandingView.of(standing)
