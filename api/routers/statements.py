"""Monthly statements: the months there are, one month's balances, and its file."""

import tempfile
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.dependencies import ReadPrincipal, State
from api.problems import SESSION_PROBLEMS, problem_responses
from api.report_files import ReportFile
from api.routers.deposits import STAFF
from api.schemas.base import id_pattern
from api.schemas.transactions import StatementList, StatementView, statement_view
from domain.errors import (
    RoleMissingError,
    StatementNotFoundError,
    StatementTooLongError,
    ValidationError,
)
from domain.ids import USER
from domain.months import MONTH_PATTERN, Month
from transactions.files import StatementFormat, write_statement
from transactions.statements import months_of, read_statement

router = APIRouter(prefix="/v1/statements", tags=["transactions"])


def whose(
    principal: ReadPrincipal,
    user_id: Annotated[
        str | None, Query(pattern=id_pattern(USER), description="Another user's; needs a role.")
    ] = None,
) -> str:
    """
    Return whose statement is asked for.

    Raises:
        RoleMissingError: Somebody else's, by somebody without a role.
    """
    if user_id not in (None, principal.user_id) and not principal.has_role(*STAFF):
        msg = f"This needs one of the roles {', '.join(sorted(STAFF))}."
        raise RoleMissingError(msg)
    return user_id or principal.user_id


Whose = Annotated[str, Depends(whose)]
MonthPath = Annotated[str, Path(pattern=MONTH_PATTERN, examples=["2026-11"])]
_LIST = (*SESSION_PROBLEMS, RoleMissingError, ValidationError)
_ONE = (*_LIST, StatementNotFoundError)


@router.get("", responses=problem_responses(*_LIST))
async def list_statements(user_id: Whose, state: State) -> StatementList:
    """List the months that have a statement, newest first; the newest is not over yet."""
    async with state.database.transaction() as session:
        months = await months_of(session, user_id)
    return StatementList(items=[str(month) for month in months])


@router.get("/{month}", responses=problem_responses(*_ONE))
async def get_statement_of_month(month: MonthPath, user_id: Whose, state: State) -> StatementView:
    """Return a month's opening and closing balances, and what came and went between them."""
    async with state.database.snapshot() as session:
        statement = await read_statement(session, user_id, Month.parse(month))
    return statement_view(statement)


@router.get(
    "/{month}/file",
    response_class=Response,
    responses={
        200: {
            "description": "Every line, between opening and closing balances",
            "content": {form.media_type: {"schema": {}} for form in StatementFormat},
        },
        **problem_responses(*_ONE, StatementTooLongError),
    },
)
async def get_statement_file(
    month: MonthPath,
    user_id: Whose,
    state: State,
    form: Annotated[StatementFormat, Query(alias="format")] = StatementFormat.PDF,
) -> Response:
    """Return a month's statement with every line, as PDF or CSV."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the answer closes it
    try:
        async with state.database.snapshot() as session:
            statement = await read_statement(session, user_id, Month.parse(month))
            await write_statement(session, statement, file, form)
    except BaseException:
        file.close()
        raise
    return ReportFile(file, media_type=form.media_type, name=f"statement-{month}.{form}")
