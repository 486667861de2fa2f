"""Sweeping a chain's deposits into its hot wallet, and what was swept."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.dependencies import SecondFactor, State, require_role
from api.pagination import PageQuery, listed
from api.problems import SECOND_FACTOR_PROBLEMS, SESSION_PROBLEMS, problem_responses
from api.routers.chains import ChainPath
from api.schemas.base import Listed
from api.schemas.sweeps import SweepRequestView, SweepView, sweep_view
from deposits.sweeps import check_chain
from deposits.sweeps import list_sweeps as sweeps_of
from domain.errors import (
    ChainNotFoundError,
    InvalidCursorError,
    RoleMissingError,
    ValidationError,
    WorkflowEngineUnavailableError,
)
from domain.workflow_ids import sweep_workflow_id
from identity.principals import Principal
from infra.paging import Position
from models.chain_transactions import ChainTransaction
from models.identity import Role, Scope

router = APIRouter(prefix="/v1/chains/{chain_id}/sweeps", tags=["chains"])

Operator = Annotated[Principal, Depends(require_role(Role.OPERATOR))]
Staff = Annotated[
    Principal,
    Depends(require_role(Role.OPERATOR, Role.AUDITOR, Role.OWNER, scope=Scope.READ)),
]


@router.post(
    "",
    status_code=202,
    responses=problem_responses(
        *SESSION_PROBLEMS,
        *SECOND_FACTOR_PROBLEMS,
        RoleMissingError,
        ChainNotFoundError,
        ValidationError,
        WorkflowEngineUnavailableError,
    ),
)
async def sweep_now(
    chain_id: ChainPath,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
    response: Response,
) -> SweepRequestView:
    """
    Sweep at once, without regard to the least amounts; the limits on fees hold.

    Asking twice sweeps once: what is on its way is not swept again.
    """
    del principal
    async with state.database.transaction() as session:
        await check_chain(session, chain_id)
    await second_factor.require()
    await state.sweep_workflows.sweep_now(chain_id)
    response.headers["Location"] = f"{state.settings.public_url}/v1/chains/{chain_id}/sweeps"
    url = state.workflow_url(sweep_workflow_id(chain_id))
    return SweepRequestView(chain_id=chain_id, workflow_url=url)


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
async def list_sweeps(
    chain_id: ChainPath, principal: Staff, state: State, page: PageQuery
) -> Listed[SweepView]:
    """List a chain's sweeps and gas top-ups, newest first."""
    del principal
    async with state.database.transaction() as session:
        rows = await sweeps_of(session, chain_id, page)
    return listed(rows, page, item=sweep_view, position=_position)


def _position(row: ChainTransaction) -> Position:
    return Position(row.created_at, row.id)
