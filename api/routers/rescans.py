"""Reading blocks of a chain again, for deposits that nobody recorded."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from api.dependencies import SecondFactor, State, require_role
from api.pagination import PageQuery, listed
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.routers.chains import ChainPath
from api.schemas.base import Listed, id_pattern
from api.schemas.chains import RescanBody, RescanView, rescan_view
from deposits.rescans import RescanRange, check_range, find_rescan, request_rescan
from deposits.rescans import list_rescans as rescans_of
from domain.errors import (
    ChainNotFoundError,
    InvalidCursorError,
    RescanNotFoundError,
    RoleMissingError,
    ValidationError,
)
from domain.ids import RESCAN
from identity.principals import Principal
from infra.paging import Position
from models.deposits import Rescan
from models.identity import Role, Scope

router = APIRouter(prefix="/v1/chains/{chain_id}/rescans", tags=["chains"])

RescanPath = Annotated[str, Path(pattern=id_pattern(RESCAN))]
Operator = Annotated[Principal, Depends(require_role(Role.OPERATOR))]
Staff = Annotated[
    Principal,
    Depends(require_role(Role.OPERATOR, Role.AUDITOR, Role.OWNER, scope=Scope.READ)),
]


@router.post(
    "",
    status_code=202,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        *SECOND_FACTOR_PROBLEMS,
        RoleMissingError,
        ChainNotFoundError,
    ),
)
async def create_rescan(
    chain_id: ChainPath,
    body: RescanBody,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
    response: Response,
) -> RescanView:
    """
    Have a range of blocks read again; what was missed is credited like any other deposit.

    At most 1,000,000 blocks that were read before. While such a rescan of the same range is open,
    that one is answered.
    """
    wanted = RescanRange(chain_id, body.from_height, body.to_height)
    async with state.database.transaction() as session:
        await check_range(session, wanted)
    # Last, so that a request which is refused anyway does not use the code up.
    await second_factor.require()
    async with state.database.transaction() as session:
        rescan = await request_rescan(session, wanted, by=principal.user_id, clock=state.clock)
    base = f"{state.settings.public_url}/v1/chains/{chain_id}/rescans"
    response.headers["Location"] = f"{base}/{rescan.id}"
    return rescan_view(rescan)


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS,
        RoleMissingError,
        ChainNotFoundError,
        InvalidCursorError,
        ValidationError,
    ),
)
async def list_rescans(
    chain_id: ChainPath, principal: Staff, state: State, page: PageQuery
) -> Listed[RescanView]:
    """List a chain's rescans, newest first."""
    del principal
    async with state.database.transaction() as session:
        rows = await rescans_of(session, chain_id, page)
    return listed(rows, page, item=rescan_view, position=_position)


@router.get(
    "/{rescan_id}",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, RescanNotFoundError, ValidationError
    ),
)
async def get_rescan(
    chain_id: ChainPath, rescan_id: RescanPath, principal: Staff, state: State
) -> RescanView:
    """Return a rescan, how far it got and how many deposits it found."""
    del principal
    async with state.database.transaction() as session:
        rescan = await find_rescan(session, chain_id, rescan_id)
    return rescan_view(rescan)


def _position(rescan: Rescan) -> Position:
    return Position(rescan.created_at, rescan.id)
