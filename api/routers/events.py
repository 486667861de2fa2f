"""Events: a list that tells what was missed, and a websocket that tells what happens."""

from typing import Annotated

from fastapi import APIRouter, Query, WebSocket

from api.dependencies import ReadPrincipal, State
from api.event_stream import EventStream
from api.pagination import LIMIT_DEFAULT, LIMIT_MAX
from api.problems import SESSION_PROBLEMS, problem_responses
from api.schemas.base import PLAIN_TEXT_PATTERN, id_pattern
from api.schemas.events import EventPage, EventView
from api.state import AppState
from domain.errors import InvalidCursorError, ValidationError
from domain.ids import EVENT
from events.outbox import START, events_after, place_by_id

router = APIRouter(tags=["events"])


@router.get(
    "/v1/events",
    responses=problem_responses(*SESSION_PROBLEMS, InvalidCursorError, ValidationError),
)
async def list_events(
    principal: ReadPrincipal,
    state: State,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Most items on the page.")] = (
        LIMIT_DEFAULT
    ),
    cursor: Annotated[
        str | None,
        Query(
            pattern=id_pattern(EVENT),
            description="The last event that is known: only what came after it is listed.",
        ),
    ] = None,
    type: Annotated[
        str | None,
        Query(max_length=100, pattern=PLAIN_TEXT_PATTERN, description="Only events of this type."),
    ] = None,
) -> EventPage:
    """List the caller's events, oldest first. Any event's id is a cursor."""
    user_id = principal.user_id
    async with state.database.transaction() as session:
        place = START
        if cursor is not None:
            known = await place_by_id(session, cursor, user_id=user_id)
            if known is None:
                raise InvalidCursorError
            place = known
        rows = await events_after(session, place, limit=limit + 1, user_ids=[user_id], kind=type)
    shown = rows[:limit]
    return EventPage(
        items=[EventView.of(row) for row in shown],
        next_cursor=shown[-1].id if len(rows) > limit else None,
    )


@router.websocket("/v1/stream")
async def stream_events(socket: WebSocket) -> None:
    """Send the caller's events as they happen; see ``api.event_stream``."""
    state: AppState = socket.app.state.strongroom
    await EventStream(socket, state).serve()
