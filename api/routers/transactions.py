"""Operations of every unit in one list, each with its history, its entries and its links."""

import tempfile
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.dependencies import ReadPrincipal, State
from api.pagination import PageQuery, listed
from api.problems import SESSION_PROBLEMS, problem_responses
from api.report_files import ReportFile
from api.routers.deposits import require_scope_of_list, visible_to
from api.routers.mixes import own_mixes_of
from api.routers.wallets import Moment
from api.schemas.base import PLAIN_TEXT_PATTERN, ULID_PATTERN, Listed
from api.schemas.payouts import AssetText, ListScope
from api.schemas.transactions import (
    TRANSACTION_ID_PATTERN,
    TransactionDetailView,
    TransactionView,
    transaction_detail_view,
    transaction_view,
)
from domain.errors import (
    InvalidCursorError,
    RoleMissingError,
    TransactionNotFoundError,
    ValidationError,
)
from domain.transactions import Direction, TransactionKind, TransactionState
from domain.workflow_ids import workflow_of
from infra.paging import Position
from transactions.files import write_transactions
from transactions.queries import (
    TransactionFilter,
    WalletTransaction,
    list_transactions,
    transaction_detail,
)

router = APIRouter(prefix="/v1/transactions", tags=["transactions"])


def wanted_transactions(
    principal: ReadPrincipal,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    kind: Annotated[TransactionKind | None, Query()] = None,
    direction: Annotated[Direction | None, Query()] = None,
    state: Annotated[TransactionState | None, Query()] = None,
    asset: Annotated[AssetText | None, Query()] = None,
    group_id: Annotated[str | None, Query(pattern=rf"^[a-z]{{3}}_{ULID_PATTERN}$")] = None,
    since: Annotated[Moment | None, Query(description="Created then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Created before then.")] = None,
    search: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=128,
            pattern=PLAIN_TEXT_PATTERN,
            description="An id, a txid or a counterparty, in full; or a part of the note.",
        ),
    ] = None,
) -> TransactionFilter:
    """Return which operations the query asks for."""
    return TransactionFilter(
        user_id=require_scope_of_list(principal, scope),
        kind=kind,
        direction=direction,
        state=state,
        asset=asset,
        group_id=group_id,
        since=since,
        until=until,
        search=search,
        own_mixes_of=own_mixes_of(principal),
    )


Wanted = Annotated[TransactionFilter, Depends(wanted_transactions)]
_LIST = (*SESSION_PROBLEMS, RoleMissingError, ValidationError)


@router.get("", responses=problem_responses(*_LIST, InvalidCursorError))
async def get_transactions(
    wanted: Wanted, state: State, page: PageQuery
) -> Listed[TransactionView]:
    """List operations of every unit, newest first."""
    async with state.database.transaction() as session:
        rows = await list_transactions(session, page, wanted)
    return listed(rows, page, item=transaction_view, position=_position)


@router.get(
    "/export",
    response_class=Response,
    responses={
        200: {"description": "A row per operation", "content": {"text/csv": {"schema": {}}}},
        **problem_responses(*_LIST),
    },
)
async def export_transactions(wanted: Wanted, state: State) -> Response:
    """Return all operations that the filter leaves, newest first, as one CSV file."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the answer closes it
    try:
        async with state.database.snapshot() as session:
            await write_transactions(session, wanted, file)
    except BaseException:
        file.close()
        raise
    return ReportFile(file, media_type="text/csv", name="transactions.csv")


@router.get(
    "/{transaction_id}",
    responses=problem_responses(*SESSION_PROBLEMS, TransactionNotFoundError, ValidationError),
)
async def get_transaction(
    transaction_id: Annotated[str, Path(pattern=TRANSACTION_ID_PATTERN)],
    principal: ReadPrincipal,
    state: State,
) -> TransactionDetailView:
    """Return one operation with its history, its entries, its chain transaction and workflow."""
    async with state.database.transaction() as session:
        detail = await transaction_detail(
            session,
            transaction_id,
            user_id=visible_to(principal),
            viewer_id=principal.user_id,
            own_mixes_of=own_mixes_of(principal),
        )
    workflow_id = workflow_of(transaction_id, group_id=detail.transaction.group_id)
    return transaction_detail_view(
        detail,
        workflow_id=workflow_id,
        workflow_url=None if workflow_id is None else state.workflow_url(workflow_id),
    )


def _position(row: WalletTransaction) -> Position:
    return Position(row.created_at, row.id)
