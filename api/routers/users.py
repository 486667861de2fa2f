"""Signing up, and who I am."""

from fastapi import APIRouter, Response

from api.dependencies import ReadPrincipal, State
from api.problems import BODY_PROBLEMS, problem_responses
from api.schemas.users import SignUpRequest, UserView
from domain.errors import (
    AuthenticationError,
    EmailTakenError,
    ScopeMissingError,
    SessionExpiredError,
)

router = APIRouter(prefix="/v1/users", tags=["users"])


@router.post("", status_code=201, responses=problem_responses(*BODY_PROBLEMS, EmailTakenError))
async def sign_up(request: SignUpRequest, state: State, response: Response) -> UserView:
    """Create a user. Money operations need a second factor: enrol one next."""
    user = await state.identity.accounts.sign_up(request.email, request.password)
    response.headers["Location"] = f"{router.prefix}/me"
    return UserView.of(user, second_factor_enabled=False)


@router.get(
    "/me",
    responses=problem_responses(AuthenticationError, SessionExpiredError, ScopeMissingError),
)
async def get_me(principal: ReadPrincipal, state: State) -> UserView:
    """Return the user who asks. An API key needs the scope `read`."""
    user = await state.identity.accounts.user(principal.user_id)
    return UserView.of(user, second_factor_enabled=principal.second_factor_enabled)
