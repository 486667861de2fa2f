"""Keys for programs. Only a person who is logged in manages them."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import SecondFactor, SessionPrincipal, State
from api.pagination import PageQuery, listed
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.api_keys import ApiKeyRequest, ApiKeyView, IssuedApiKeyView
from api.schemas.base import Listed, id_pattern
from domain.errors import InvalidCursorError, NotFoundError, ValidationError
from domain.ids import API_KEY
from infra.paging import Position

router = APIRouter(prefix="/v1/api-keys", tags=["api-keys"])


@router.post(
    "",
    status_code=201,
    responses=problem_responses(*BODY_PROBLEMS, *SESSION_PROBLEMS, *SECOND_FACTOR_PROBLEMS),
)
async def create_api_key(
    request: ApiKeyRequest,
    principal: SessionPrincipal,
    second_factor: SecondFactor,
    state: State,
) -> IssuedApiKeyView:
    """Issue a key with which a program acts for this user, within its scopes."""
    await second_factor.require()
    issued = await state.identity.api_keys.issue(
        principal.user_id,
        name=request.name,
        scopes=request.scopes,
        expires_at=request.expires_at,
    )
    return IssuedApiKeyView(key=ApiKeyView.of(issued.key), token=issued.token)


@router.get("", responses=problem_responses(*SESSION_PROBLEMS, InvalidCursorError, ValidationError))
async def list_api_keys(
    principal: SessionPrincipal, state: State, page: PageQuery
) -> Listed[ApiKeyView]:
    """List the user's keys, also those that are over."""
    rows = await state.identity.api_keys.of_user(principal.user_id, page)
    return listed(
        rows, page, item=ApiKeyView.of, position=lambda row: Position(row.created_at, row.id)
    )


@router.delete(
    "/{key_id}",
    status_code=204,
    responses=problem_responses(*SESSION_PROBLEMS, NotFoundError, ValidationError),
)
async def revoke_api_key(
    key_id: Annotated[str, Path(pattern=id_pattern(API_KEY))],
    principal: SessionPrincipal,
    state: State,
) -> None:
    """End a key at once. It stays in the list."""
    await state.identity.api_keys.revoke(principal.user_id, key_id)
