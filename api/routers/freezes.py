"""Users whose deposit the chain took back: nothing leaves until an operator has looked."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from api.dependencies import SecondFactor, State, require_role
from api.problems import SECOND_FACTOR_PROBLEMS, SESSION_PROBLEMS, problem_responses
from api.schemas.base import id_pattern
from api.schemas.freezes import FreezeList, FreezeView, LiftedView
from deposits.freezes import active_freezes, lift
from domain.errors import OwnRequestError, RoleMissingError, ValidationError
from domain.ids import USER
from identity.principals import Principal
from models.identity import Role, Scope

router = APIRouter(prefix="/v1", tags=["freezes"])

UserPath = Annotated[str, Path(pattern=id_pattern(USER))]
Operator = Annotated[Principal, Depends(require_role(Role.OPERATOR))]
Staff = Annotated[
    Principal,
    Depends(require_role(Role.OPERATOR, Role.AUDITOR, Role.OWNER, scope=Scope.READ)),
]


@router.get("/freezes", responses=problem_responses(*SESSION_PROBLEMS, RoleMissingError))
async def list_freezes(principal: Staff, state: State) -> FreezeList:
    """List every freeze that is not lifted, oldest first."""
    del principal
    async with state.database.transaction() as session:
        freezes = await active_freezes(session)
    return FreezeList(items=[FreezeView.of(freeze) for freeze in freezes])


@router.post(
    "/users/{user_id}/freezes/lift",
    responses=problem_responses(
        *SESSION_PROBLEMS,
        *SECOND_FACTOR_PROBLEMS,
        RoleMissingError,
        OwnRequestError,
        ValidationError,
    ),
)
async def lift_freezes(
    user_id: UserPath, principal: Operator, second_factor: SecondFactor, state: State
) -> LiftedView:
    """Let a user's money leave again; what they owe stays on their balance."""
    if user_id == principal.user_id:
        msg = "Nobody lifts their own freeze."
        raise OwnRequestError(msg)
    await second_factor.require()
    async with state.database.transaction() as session:
        lifted = await lift(session, user_id, by=principal.user_id, at=state.clock.now())
    return LiftedView(user_id=user_id, lifted=lifted)
