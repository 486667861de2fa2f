"""Logging in and out."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import SessionPrincipal, State
from api.pagination import PageQuery, listed
from api.problems import BODY_PROBLEMS, SESSION_PROBLEMS, problem_responses
from api.schemas.base import Listed, id_pattern
from api.schemas.sessions import LoginRequest, OpenedSessionView, SessionView
from domain.errors import (
    InvalidCredentialsError,
    InvalidCursorError,
    LoginThrottledError,
    NotFoundError,
    ValidationError,
)
from domain.ids import SESSION
from infra.paging import Position

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])


@router.post(
    "",
    status_code=201,
    responses=problem_responses(*BODY_PROBLEMS, InvalidCredentialsError, LoginThrottledError),
)
async def log_in(request: LoginRequest, state: State) -> OpenedSessionView:
    """Exchange email and password for a bearer token."""
    user = await state.identity.accounts.prove_password(request.email, request.password)
    opened = await state.identity.sessions.open(user.id)
    return OpenedSessionView(
        id=opened.session.id, token=opened.token, expires_at=opened.session.expires_at
    )


@router.get("", responses=problem_responses(*SESSION_PROBLEMS, InvalidCursorError, ValidationError))
async def list_sessions(
    principal: SessionPrincipal, state: State, page: PageQuery
) -> Listed[SessionView]:
    """List where the user is logged in."""
    rows = await state.identity.sessions.of_user(principal.user_id, page)
    return listed(
        rows,
        page,
        item=lambda row: SessionView.of(row, current_id=principal.session_id),
        position=lambda row: Position(row.created_at, row.id),
    )


@router.delete("/current", status_code=204, responses=problem_responses(*SESSION_PROBLEMS))
async def log_out(principal: SessionPrincipal, state: State) -> None:
    """End the login with which this is asked."""
    assert principal.session_id is not None
    await state.identity.sessions.revoke(principal.user_id, principal.session_id)


@router.delete(
    "/{session_id}",
    status_code=204,
    responses=problem_responses(*SESSION_PROBLEMS, NotFoundError, ValidationError),
)
async def revoke_session(
    session_id: Annotated[str, Path(pattern=id_pattern(SESSION))],
    principal: SessionPrincipal,
    state: State,
) -> None:
    """End one login of the user."""
    await state.identity.sessions.revoke(principal.user_id, session_id)


@router.delete("", status_code=204, responses=problem_responses(*SESSION_PROBLEMS))
async def log_out_everywhere(principal: SessionPrincipal, state: State) -> None:
    """End every login of the user, this one too."""
    await state.identity.sessions.revoke_all(principal.user_id)
