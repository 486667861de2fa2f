"""KYC for applicants and those who read: levels, limits, applications."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.dependencies import (
    IdempotencyKey,
    ReadPrincipal,
    SessionPrincipal,
    State,
    require_role,
)
from api.pagination import PageQuery, listed
from api.problems import BODY_PROBLEMS, SESSION_PROBLEMS, problem_responses
from api.schemas.base import Listed, id_pattern
from api.schemas.kyc import (
    ApplicationBody,
    ApplicationDetailView,
    ApplicationEventView,
    ApplicationView,
    DocumentsBody,
    DocumentView,
    KycDecisionView,
    KycView,
    LevelChangeView,
    StandingView,
    UserLevelView,
)
from api.schemas.limits import LimitStandingView
from api.schemas.payouts import ListScope
from api.state import AppState
from domain.errors import (
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    InvalidCursorError,
    InvalidDocumentError,
    KycApplicationNotFoundError,
    KycApplicationStateError,
    NotFoundError,
    RoleMissingError,
    ValidationError,
    WorkflowEngineUnavailableError,
)
from domain.ids import KYC_APPLICATION, USER, derived_id
from domain.kyc import KycStatus
from identity.principals import Principal
from infra.paging import Position
from kyc import queries
from limits.standing import standing
from models.identity import Role
from models.kyc import KycApplication

router = APIRouter(prefix="/v1/kyc", tags=["kyc"])

REVIEWERS = (Role.APPROVER, Role.AUDITOR, Role.OWNER)
"""Who sees everybody's applications, and what is personal in them."""

ApplicationPath = Annotated[str, Path(pattern=id_pattern(KYC_APPLICATION))]
UserPath = Annotated[str, Path(pattern=id_pattern(USER))]
Reviewer = Annotated[Principal, Depends(require_role(*REVIEWERS))]

_ONE = (*SESSION_PROBLEMS, KycApplicationNotFoundError, ValidationError)
_CHANGE = (*_ONE, KycApplicationStateError, WorkflowEngineUnavailableError)


@router.get("", responses=problem_responses(*SESSION_PROBLEMS))
async def get_kyc(principal: ReadPrincipal, state: State) -> KycView:
    """Return the caller's level, and what remains of their limits and when it renews."""
    now = state.clock.now()
    async with state.database.transaction() as session:
        level = await queries.level_row(session, principal.user_id)
        application = await queries.open_application(session, principal.user_id)
        limits = await standing(session, principal.user_id, at=now)
    return KycView(
        level=level.level if level else 0,
        since=level.since if level else None,
        open_application=application.id if application else None,
        limits=[LimitStandingView.of(one) for one in limits],
    )


@router.post(
    "/applications",
    status_code=202,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        IdempotencyKeyMissingError,
        IdempotencyKeyInvalidError,
        IdempotencyKeyReusedError,
        InvalidDocumentError,
        KycApplicationStateError,
        WorkflowEngineUnavailableError,
    ),
)
async def apply_for_level(
    body: ApplicationBody,
    idempotency_key: IdempotencyKey,
    principal: SessionPrincipal,
    state: State,
    response: Response,
) -> ApplicationDetailView:
    """Apply for a level, with documents' metadata; a repeat with the same key answers the same."""
    application = await state.kyc_applications.submit(
        derived_id(KYC_APPLICATION, principal.principal_id, idempotency_key),
        user_id=principal.user_id,
        level=body.level,
        details=body.details(),
        documents=[document.handed_in() for document in body.documents],
    )
    await state.kyc_workflows.accept(application.id, user_id=application.user_id)
    location = f"{state.settings.public_url}{router.prefix}/applications/{application.id}"
    response.headers["Location"] = location
    return await _detail(state, application.id, principal)


@router.get(
    "/applications",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_kyc_applications(
    principal: SessionPrincipal,
    state: State,
    page: PageQuery,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    status: Annotated[KycStatus | None, Query()] = None,
) -> Listed[ApplicationView]:
    """List applications, newest first."""
    if scope == "all" and not principal.has_role(*REVIEWERS):
        msg = "Only reviewers see everybody's applications."
        raise RoleMissingError(msg)
    user_id = None if scope == "all" else principal.user_id
    async with state.database.transaction() as session:
        rows = await queries.list_applications(session, page, user_id=user_id, status=status)
    return listed(rows, page, item=ApplicationView.of, position=_position)


@router.get("/applications/{application_id}", responses=problem_responses(*_ONE))
async def get_kyc_application(
    application_id: ApplicationPath, principal: SessionPrincipal, state: State
) -> ApplicationDetailView:
    """Return an application with its documents, its history and, to reviewers, decisions."""
    return await _detail(state, application_id, principal)


@router.post(
    "/applications/{application_id}/documents",
    responses=problem_responses(*BODY_PROBLEMS, *_CHANGE, InvalidDocumentError),
)
async def hand_in_documents(
    application_id: ApplicationPath, body: DocumentsBody, principal: SessionPrincipal, state: State
) -> StandingView:
    """Hand in what a reviewer asked for; the review goes on."""
    user_id = principal.user_id
    supply = await state.kyc_applications.hand_in(
        application_id,
        user_id=user_id,
        documents=[document.handed_in() for document in body.documents],
    )
    return StandingView.of(await state.kyc_workflows.supply(supply, user_id=user_id))


@router.post("/applications/{application_id}/withdrawal", responses=problem_responses(*_CHANGE))
async def withdraw_kyc_application(
    application_id: ApplicationPath, principal: SessionPrincipal, state: State
) -> StandingView:
    """Take an application back that nobody has decided on; a repeat answers the same."""
    user_id = principal.user_id
    async with state.database.transaction() as session:
        await queries.application_for(session, application_id, user_id=user_id)
    return StandingView.of(await state.kyc_workflows.withdraw(application_id, user_id=user_id))


@router.get(
    "/users/{user_id}",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, NotFoundError, ValidationError
    ),
)
async def get_user_level(user_id: UserPath, principal: Reviewer, state: State) -> UserLevelView:
    """Return a user's level with its history and the standing of their limits."""
    del principal
    async with state.database.transaction() as session:
        history = await queries.level_changes(session, user_id)
        level = await queries.level_row(session, user_id)
        limits = await standing(session, user_id, at=state.clock.now())
    return UserLevelView(
        user_id=user_id,
        level=level.level if level else 0,
        since=level.since if level else None,
        application_id=level.application_id if level else None,
        history=[LevelChangeView.of(row) for row in history],
        limits=[LimitStandingView.of(one) for one in limits],
    )


async def _detail(
    state: AppState, application_id: str, principal: Principal
) -> ApplicationDetailView:
    is_reviewer = principal.has_role(*REVIEWERS)
    user_id = None if is_reviewer else principal.user_id
    stored = state.kyc_applications
    async with state.database.transaction() as session:
        application = await queries.application_for(session, application_id, user_id=user_id)
        details = await stored.details(session, application_id)
        documents = await stored.documents(session, application_id)
        history = await queries.events_of(session, application_id)
        decisions = await queries.decisions_on(session, application_id) if is_reviewer else None
    return ApplicationDetailView(
        **ApplicationView.of(application).model_dump(),
        full_name=details.full_name,
        born_on=details.born_on,
        residence_country=details.residence_country,
        documents=[DocumentView.of(document, revision) for document, revision in documents],
        history=[ApplicationEventView.of(row) for row in history],
        decisions=None if decisions is None else [KycDecisionView.of(row) for row in decisions],
    )


def _position(application: KycApplication) -> Position:
    return Position(application.created_at, application.id)
