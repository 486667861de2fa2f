"""Who may approve, operate, audit and own."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from api.dependencies import OwnerPrincipal, SecondFactor, State, require_role
from api.pagination import PageQuery, listed
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.admins import AdminView, RolesRequest
from api.schemas.base import Listed, id_pattern
from domain.errors import (
    InvalidCursorError,
    LastOwnerError,
    NotFoundError,
    RoleMissingError,
    ValidationError,
)
from domain.ids import USER
from identity.principals import Principal
from infra.paging import Position
from models.identity import Role

router = APIRouter(prefix="/v1/admins", tags=["admins"])

AdminReader = Annotated[Principal, Depends(require_role(Role.OWNER, Role.AUDITOR))]


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_admins(_: AdminReader, state: State, page: PageQuery) -> Listed[AdminView]:
    """List the users who hold a role. For owners and auditors."""
    rows = await state.identity.admins.listed(page)
    return listed(
        rows, page, item=AdminView.of, position=lambda row: Position(row.created_at, row.id)
    )


@router.put(
    "/{user_id}/roles",
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        *SECOND_FACTOR_PROBLEMS,
        RoleMissingError,
        NotFoundError,
        LastOwnerError,
    ),
)
async def set_roles(
    user_id: Annotated[str, Path(pattern=id_pattern(USER))],
    request: RolesRequest,
    principal: OwnerPrincipal,
    *,
    second_factor: SecondFactor,
    state: State,
) -> AdminView:
    """Give a user exactly these roles. For owners, with a second factor."""
    await second_factor.require()
    user = await state.identity.admins.set_roles(principal, user_id, request.roles)
    return AdminView.of(user)
