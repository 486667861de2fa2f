"""Bulk payouts: upload a file, look at its dry run, follow it, report."""

import tempfile
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response

from api.dependencies import (
    PayoutsWritePrincipal,
    ReadPrincipal,
    State,
)
from api.deposit_stream import MEDIA_TYPE, EventStream
from api.numbered import LIMIT, Limit, decode_number, encode_number
from api.pagination import PageQuery, listed
from api.problems import (
    SESSION_PROBLEMS,
    problem_responses,
)
from api.report_files import ReportFile
from api.run_details import ONE_RUN, STAFF, RunPath, detail_of, visible_to
from api.run_stream import EVENT_ID_PATTERN, RunStream
from api.schemas.base import Listed
from api.schemas.payout_runs import (
    RunDetailView,
    RunExplanationView,
    RunLinesView,
    RunView,
    run_line_view,
    run_view,
)
from api.schemas.payouts import ListScope
from api.upload_bodies import spooled, upload_format
from domain.errors import (
    BodyTooLargeError,
    ConflictError,
    InvalidCursorError,
    InvalidUploadError,
    PayoutRunStateError,
    RoleMissingError,
    TransientError,
    UnsupportedMediaTypeError,
    ValidationError,
)
from domain.payouts import PayoutStatus, Priority
from domain.runs import RunStatus
from infra.paging import Position
from models.runs import PayoutRun
from runs.drafts import discard
from runs.explain import explain
from runs.formats import UploadFormat
from runs.queries import (
    LineFilter,
    lines_of,
    run_detail,
    run_for,
)
from runs.queries import list_runs as runs_on
from runs.report import ReportFormat, write_report
from runs.uploads import Upload

router = APIRouter(prefix="/v1/payout-runs", tags=["payout-runs"])

PLAIN_NAME: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"


_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {form.value: {"schema": {"type": "string"}} for form in UploadFormat},
    }
}


@router.post(
    "",
    status_code=201,
    openapi_extra=_FILE,
    responses=problem_responses(
        *SESSION_PROBLEMS,
        BodyTooLargeError,
        UnsupportedMediaTypeError,
        ValidationError,
        InvalidUploadError,
        ConflictError,
        TransientError,
    ),
)
async def upload_payout_run(
    request: Request,
    principal: PayoutsWritePrincipal,
    state: State,
    response: Response,
    name: Annotated[str, Query(min_length=1, max_length=200, pattern=PLAIN_NAME)] = "upload",
    priority: Annotated[Priority, Query()] = Priority.NORMAL,
) -> RunDetailView:
    """
    Store a file of payments of one asset as a draft, and check every line. Nothing is held.

    CSV with the columns `destination`, `asset`, `amount` (whole units) or `amount_minor`, and
    optionally `reference` and `note`; or a JSON object of the same strings on each line.
    """
    form = upload_format(request)
    settings = state.settings
    await state.run_uploads.check_room(principal.user_id)
    with state.upload_slots.one(principal.user_id, most=settings.uploads_max):
        async with spooled(request, within=settings.upload_timeout) as body:
            run_id = await state.run_uploads.store(
                Upload(
                    file=body.file,
                    form=form,
                    sha256=body.sha256,
                    name=name,
                    priority=priority,
                    user_id=principal.user_id,
                    principal_id=principal.principal_id,
                )
            )
    response.headers["Location"] = f"{settings.public_url}{router.prefix}/{run_id}"
    return await detail_of(state, run_id, principal)


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_payout_runs(
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    status: Annotated[RunStatus | None, Query()] = None,
) -> Listed[RunView]:
    """List runs, newest first."""
    if scope == "all" and not principal.has_role(*STAFF):
        msg = "Only admins see everybody's runs."
        raise RoleMissingError(msg)
    user_id = None if scope == "all" else principal.user_id
    async with state.database.transaction() as session:
        rows = await runs_on(session, page, user_id=user_id, status=status)
    return listed(rows, page, item=run_view, position=_position)


@router.get("/{run_id}", responses=problem_responses(*ONE_RUN))
async def get_payout_run(run_id: RunPath, principal: ReadPrincipal, state: State) -> RunDetailView:
    """Return a run: what its dry run says, or how far it is."""
    return await detail_of(state, run_id, principal)


@router.delete(
    "/{run_id}", status_code=204, responses=problem_responses(*ONE_RUN, PayoutRunStateError)
)
async def discard_payout_run(
    run_id: RunPath, principal: PayoutsWritePrincipal, state: State
) -> None:
    """Delete a draft with its lines."""
    async with state.database.transaction() as session:
        run = await run_for(session, run_id, user_id=principal.user_id)
        await discard(session, run)


@router.get("/{run_id}/lines", responses=problem_responses(*ONE_RUN, InvalidCursorError))
async def list_payout_run_lines(
    run_id: RunPath,
    principal: ReadPrincipal,
    state: State,
    limit: Limit = LIMIT,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before.")
    ] = None,
    status: Annotated[PayoutStatus | None, Query()] = None,
    *,
    only_problems: Annotated[bool, Query(description="Only what the dry run found.")] = False,
) -> RunLinesView:
    """List the lines of a run, in the file's order."""
    after = 0 if cursor is None else _line_number(cursor)
    wanted = LineFilter(status, only_problems)
    async with state.database.transaction() as session:
        await run_for(session, run_id, user_id=visible_to(principal))
        found = await lines_of(session, run_id, wanted, after=after, limit=limit + 1)
    shown = found[:limit]
    return RunLinesView(
        items=[run_line_view(line) for line in shown],
        next_cursor=encode_number(shown[-1].line.number) if len(found) > limit else None,
    )


@router.get(
    "/{run_id}/report",
    response_class=Response,
    responses={
        200: {
            "description": "A row per line",
            "content": {form.media_type: {"schema": {}} for form in ReportFormat},
        },
        **problem_responses(*ONE_RUN),
    },
)
async def report_payout_run(
    run_id: RunPath,
    principal: ReadPrincipal,
    state: State,
    form: Annotated[ReportFormat, Query(alias="format")] = ReportFormat.CSV,
) -> Response:
    """Return what became of every line, as one file."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the answer closes it
    try:
        async with state.database.snapshot() as session:
            run = await run_for(session, run_id, user_id=visible_to(principal))
            await write_report(session, run, file, form)
    except BaseException:
        file.close()
        raise
    return ReportFile(file, media_type=form.media_type, name=f"{run_id}.{form}")


@router.get(
    "/{run_id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events, each with the JSON of a RunEventView",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **problem_responses(*ONE_RUN, TransientError),
    },
)
async def stream_payout_run_events(
    run_id: RunPath,
    principal: ReadPrincipal,
    state: State,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=EVENT_ID_PATTERN,
            description="The last event that was read: the same is not sent again.",
        ),
    ] = None,
) -> EventStream:
    """
    Send how many lines are in each status, then each change, until the run is finished.

    The stream also ends after some minutes; come back with `Last-Event-ID` to go on.
    """
    user_id = visible_to(principal)
    async with state.database.transaction() as session:
        await run_for(session, run_id, user_id=user_id)
    stream = RunStream(state.database, state.settings)
    return EventStream(
        stream.events(run_id, user_id=user_id, last=last_event_id),
        reader=principal.user_id,
        slots=state.stream_slots,
        settings=state.settings,
    )


@router.get("/{run_id}/explain", responses=problem_responses(*ONE_RUN))
async def explain_payout_run(
    run_id: RunPath, principal: ReadPrincipal, state: State
) -> RunExplanationView:
    """Say in one sentence what the run waits for."""
    async with state.database.transaction() as session:
        detail = await run_detail(session, run_id, user_id=visible_to(principal))
        explanation = await explain(session, detail, now=state.clock.now())
    return RunExplanationView(
        run_id=run_id,
        status=RunStatus(detail.run.status),
        explanation=explanation.sentence,
        waiting_for=explanation.waiting_for,
    )


def _line_number(cursor: str) -> int:
    number = decode_number(cursor)
    # What PostgreSQL's integer cannot hold was not issued here.
    if number >= 2**31:
        raise InvalidCursorError
    return number


def _position(run: PayoutRun) -> Position:
    return Position(run.created_at, run.id)
