"""Deposits: what arrived, where it stands, and its progress as a stream of events."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response

from api.dependencies import ReadPrincipal, State
from api.deposit_stream import EVENT_ID_PATTERN, MEDIA_TYPE, DepositStream, EventStream, Place
from api.pagination import PageQuery, listed
from api.problems import SESSION_PROBLEMS, problem_responses
from api.schemas.base import Listed, id_pattern
from api.schemas.deposits import (
    DepositDetailView,
    DepositExplanationView,
    DepositView,
    deposit_detail_view,
    deposit_view,
)
from api.schemas.payouts import AssetText, ListScope
from deposits.explain import explained
from deposits.queries import ListedDeposit, deposit_detail, postings_of
from deposits.queries import list_deposits as deposits_on
from domain.deposits import DepositStatus
from domain.errors import (
    DepositNotFoundError,
    InvalidCursorError,
    RoleMissingError,
    TransientError,
    ValidationError,
)
from domain.ids import DEPOSIT
from domain.workflow_ids import deposit_workflow_id
from identity.principals import Principal
from infra.paging import Position
from models.identity import Role

router = APIRouter(prefix="/v1/deposits", tags=["deposits"])

STAFF = (Role.OPERATOR, Role.AUDITOR, Role.OWNER)
"""Who sees everybody's addresses and deposits."""

DepositPath = Annotated[str, Path(pattern=id_pattern(DEPOSIT))]

_ONE = (*SESSION_PROBLEMS, DepositNotFoundError, ValidationError)


def visible_to(principal: Principal) -> str | None:
    """Return whose things the caller may see; None for everybody's."""
    return None if principal.has_role(*STAFF) else principal.user_id


def require_scope_of_list(principal: Principal, scope: ListScope) -> str | None:
    """
    Return whose things a list is about; None for everybody's.

    Raises:
        RoleMissingError: Everybody's are asked for by somebody without a role.
    """
    if scope == "mine":
        return principal.user_id
    if not principal.has_role(*STAFF):
        msg = f"This needs one of the roles {', '.join(sorted(STAFF))}."
        raise RoleMissingError(msg)
    return None


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_deposits(
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    status: Annotated[DepositStatus | None, Query()] = None,
    asset: Annotated[AssetText | None, Query()] = None,
) -> Listed[DepositView]:
    """List deposits, newest first."""
    user_id = require_scope_of_list(principal, scope)
    async with state.database.transaction() as session:
        rows = await deposits_on(session, page, user_id=user_id, status=status, asset=asset)
    return listed(rows, page, item=deposit_view, position=_position)


@router.get("/{deposit_id}", responses=problem_responses(*_ONE))
async def get_deposit(
    deposit_id: DepositPath, principal: ReadPrincipal, state: State
) -> DepositDetailView:
    """Return a deposit with its history, its confirmations and what the books did with it."""
    async with state.database.transaction() as session:
        detail = await deposit_detail(session, deposit_id, user_id=visible_to(principal))
        postings = await postings_of(session, detail.deposit)
    workflow_id = deposit_workflow_id(deposit_id)
    return deposit_detail_view(
        detail,
        postings,
        viewer_id=principal.user_id,
        workflow_id=workflow_id,
        workflow_url=state.workflow_url(workflow_id),
    )


@router.get("/{deposit_id}/explain", responses=problem_responses(*_ONE))
async def explain_deposit(
    deposit_id: DepositPath, principal: ReadPrincipal, state: State
) -> DepositExplanationView:
    """Say in one sentence what the deposit waits for."""
    async with state.database.transaction() as session:
        detail = await deposit_detail(session, deposit_id, user_id=visible_to(principal))
    explanation = explained(detail, now=state.clock.now())
    return DepositExplanationView(
        deposit_id=deposit_id,
        status=DepositStatus(detail.deposit.status),
        explanation=explanation.sentence,
        waiting_for=explanation.waiting_for,
    )


@router.get(
    "/{deposit_id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events, each with the JSON of a DepositEventView",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **problem_responses(*_ONE, TransientError),
    },
)
async def stream_deposit_events(
    deposit_id: DepositPath,
    principal: ReadPrincipal,
    state: State,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=EVENT_ID_PATTERN,
            description="The last event that was read: only what came after it is sent.",
        ),
    ] = None,
) -> EventStream:
    """
    Send the deposit's state and then each change, until it is final.

    The stream also ends after some minutes; come back with `Last-Event-ID` to go on.
    """
    user_id = visible_to(principal)
    async with state.database.transaction() as session:
        await deposit_detail(session, deposit_id, user_id=user_id)
    stream = DepositStream(state.database, state.clock, state.settings)
    last = None if last_event_id is None else Place.parse(last_event_id)
    return EventStream(
        stream.events(deposit_id, user_id=user_id, last=last),
        reader=principal.user_id,
        slots=state.stream_slots,
        settings=state.settings,
    )


def _position(listed_deposit: ListedDeposit) -> Position:
    deposit = listed_deposit.deposit
    return Position(deposit.seen_at, deposit.id)
