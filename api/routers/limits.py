"""Limits by KYC level: read by admins, written by owners, never changed in place."""

from typing import Annotated

from fastapi import APIRouter, Depends

from api.dependencies import OwnerPrincipal, SecondFactor, State, require_role
from api.numbered import LIMIT, Before, encode_number
from api.numbered import Limit as PageLimit
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.limits import LimitsList, LimitsView
from domain.errors import (
    InvalidCursorError,
    InvalidLimitsError,
    RoleMissingError,
    ValidationError,
)
from domain.limits import LimitsDocument, parse_limits
from identity.principals import Principal
from limits.documents import check_assets, limits_versions, store_limits
from models.identity import Role, Scope
from models.limits import LimitsVersion

router = APIRouter(prefix="/v1/limits", tags=["limits"])

Staff = Annotated[
    Principal,
    Depends(require_role(Role.APPROVER, Role.OPERATOR, Role.AUDITOR, Role.OWNER, scope=Scope.READ)),
]
_READ = (*SESSION_PROBLEMS, RoleMissingError)


@router.get("", responses=problem_responses(*_READ))
async def get_limits(principal: Staff, state: State) -> LimitsView:
    """Return the limits in force."""
    del principal
    async with state.database.transaction() as session:
        (row,) = await limits_versions(session, before=None, limit=1)
    return _view(row)


@router.get("/versions", responses=problem_responses(*_READ, InvalidCursorError, ValidationError))
async def list_limits_versions(
    principal: Staff, state: State, before: Before, limit: PageLimit = LIMIT
) -> LimitsList:
    """List every version there has been, newest first."""
    del principal
    async with state.database.transaction() as session:
        rows = await limits_versions(session, before=before, limit=limit + 1)
    shown = rows[:limit]
    has_more = len(rows) > limit
    return LimitsList(
        items=[_view(row) for row in shown],
        next_cursor=encode_number(int(shown[-1].version or 0)) if has_more else None,
    )


@router.put(
    "",
    responses=problem_responses(
        *BODY_PROBLEMS, *_READ, *SECOND_FACTOR_PROBLEMS, InvalidLimitsError
    ),
)
async def put_limits(
    document: LimitsDocument,
    principal: OwnerPrincipal,
    second_factor: SecondFactor,
    state: State,
) -> LimitsView:
    """Put new limits in force, at once and for what was used before."""
    parse_limits(document.model_dump(mode="json"))
    async with state.database.transaction() as session:
        await check_assets(session, document)
    await second_factor.require()
    async with state.database.transaction() as session:
        return _view(await store_limits(session, document, by=principal.user_id))


def _view(row: LimitsVersion) -> LimitsView:
    return LimitsView(
        version=int(row.version or 0),
        document=parse_limits(row.document),
        created_by=row.created_by,
        created_at=row.created_at,
    )
