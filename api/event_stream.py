"""
One user's events over a websocket (RFC 6455): first what was missed, then what happens.

The database is never held while something is sent. A socket ends after a while whatever happens,
since rights may have been withdrawn since it began; its client goes on from the last event it read.
"""

import asyncio
import contextlib
import json
import time
from datetime import timedelta
from enum import IntEnum
from typing import Annotated, Final

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import Field
from pydantic import ValidationError as FaultyMessage

from api.event_hub import PAGE_EVENTS, Listener
from api.schemas.base import StrictModel, id_pattern
from api.schemas.events import EventView
from api.state import AppState
from domain.errors import (
    AuthenticationError,
    DatabaseUnavailableError,
    NotAllowedError,
    ScopeMissingError,
    StrongroomError,
    TransientError,
)
from domain.ids import EVENT
from events.outbox import Place, events_after, place_by_id, place_of
from identity.principals import Principal
from models.identity import Scope

HEARTBEAT: Final = timedelta(seconds=15)
OPENING: Final = timedelta(seconds=10)
"""How long a client may take to say who it is."""

GONE: Final = 1005
"""The client said nothing about why it went (RFC 6455, section 7.4.1)."""

_BEARER: Final = "bearer "
_OPENED: Final = json.dumps({"type": "stream.opened"})
_BEAT: Final = json.dumps({"type": "stream.heartbeat"})


class Close(IntEnum):
    """Why the server ends a stream: the websocket's close code."""

    TRY_LATER = 1013
    """The database is away. Come back."""
    LIFETIME_OVER = 4000
    """It lived as long as a stream may. Come back."""
    TOO_SLOW = 4001
    """More events came than the client read. Come back."""
    MALFORMED = 4400
    """The client said something that it may not say, or not in this form."""
    UNAUTHENTICATED = 4401
    """The token is missing, malformed or not valid."""
    NOT_ALLOWED = 4403
    """The API key lacks the scope ``read``."""
    UNKNOWN_EVENT = 4404
    """No event of the user has the id to go on from. Read ``GET /v1/events`` instead."""
    OPENING_OVERDUE = 4408
    """The client did not say who it is."""
    TOO_MANY = 4429
    """As many streams are open as may be, of this user or in all."""


class Opening(StrictModel):
    """A client's only message: who it is, where no header says so, and the last event it read."""

    token: str | None = Field(default=None, max_length=200)
    last_event_id: Annotated[str, Field(pattern=id_pattern(EVENT))] | None = None


class Ended(Exception):  # noqa: N818 - no error, but a way to end
    """The stream is over, for this reason."""

    def __init__(self, code: Close) -> None:
        """Take the close code."""
        super().__init__(code.name)
        self.code = code


class EventStream:
    """Serves one websocket."""

    def __init__(self, socket: WebSocket, state: AppState) -> None:
        """Take the socket, which is not accepted yet."""
        self._socket, self._state = socket, state

    async def serve(self) -> None:
        """Send events until the client goes, or there is a reason to end."""
        await self._socket.accept()
        try:
            await self._serve()
        except WebSocketDisconnect:
            return
        except Ended as ended:
            await self._close(ended.code)
        except StrongroomError as error:
            await self._close(_code_of(error))

    async def _serve(self) -> None:
        opening = await self._opening()
        principal = await self._principal(opening)
        settings = self._state.settings
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._state.stream_slots.one(principal.user_id, settings))
            except TransientError:
                raise Ended(Close.TOO_MANY) from None
            listener = stack.enter_context(self._state.event_hub.listening(principal.user_id))
            ends_at = time.monotonic() + settings.stream_lifetime.total_seconds()
            sending = asyncio.create_task(self._send(listener, opening, ends_at))
            hearing = asyncio.create_task(self._hear())
            try:
                await asyncio.wait([sending, hearing], return_when=asyncio.FIRST_COMPLETED)
                for task in (sending, hearing):
                    if task.done():
                        task.result()
            finally:
                await _stopped(sending, hearing)

    async def _opening(self) -> Opening:
        headers = self._socket.headers
        given = headers.get("authorization")
        last = self._socket.query_params.get("last_event_id") or headers.get("last-event-id")
        if given is None:
            try:
                async with asyncio.timeout(OPENING.total_seconds()):
                    said = await self._heard()
            except TimeoutError:
                raise Ended(Close.OPENING_OVERDUE) from None
            return _parsed(said)
        token = given[len(_BEARER) :] if given.lower().startswith(_BEARER) else ""
        return _parsed(json.dumps({"token": token[:200], "last_event_id": last}))

    async def _principal(self, opening: Opening) -> Principal:
        if not opening.token:
            raise AuthenticationError
        principal = await self._state.identity.authentication.resolve(opening.token)
        if not principal.has_scope(Scope.READ):
            raise ScopeMissingError
        return principal

    async def _send(self, listener: Listener, opening: Opening, ends_at: float) -> None:
        start = await listener.began
        if opening.last_event_id is not None:
            last = await self._known_place(listener.user_id, opening.last_event_id)
            await self._socket.send_text(_OPENED)
            await self._send_missed(listener.user_id, last, until=start)
        else:
            await self._socket.send_text(_OPENED)
        while time.monotonic() < ends_at:
            if listener.is_lost:
                raise Ended(Close.TOO_SLOW)
            wait_s = min(HEARTBEAT.total_seconds(), max(0.0, ends_at - time.monotonic()))
            try:
                async with asyncio.timeout(wait_s):
                    text = await listener.queue.get()
            except TimeoutError:
                text = _BEAT
            await self._socket.send_text(text)
        raise Ended(Close.LIFETIME_OVER)

    async def _known_place(self, user_id: str, event_id: str) -> Place:
        async with self._state.database.transaction() as session:
            place = await place_by_id(session, event_id, user_id=user_id)
        if place is None:
            raise Ended(Close.UNKNOWN_EVENT)
        return place

    async def _send_missed(self, user_id: str, place: Place, *, until: Place) -> None:
        while True:
            async with self._state.database.transaction() as session:
                missed = await events_after(
                    session, place, limit=PAGE_EVENTS, user_ids=[user_id], until=until
                )
            for event in missed:
                await self._socket.send_text(EventView.of(event).model_dump_json())
            if len(missed) < PAGE_EVENTS:
                return
            place = place_of(missed[-1])

    async def _hear(self) -> None:
        """Wait for the client to go; it has nothing more to say."""
        await self._heard()
        raise Ended(Close.MALFORMED)

    async def _heard(self) -> str:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", GONE))
        text = message.get("text")
        if not isinstance(text, str):
            # Bytes, where text is spoken.
            raise Ended(Close.MALFORMED)
        return text

    async def _close(self, code: Close) -> None:
        # The client may have gone in the same moment.
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.close(code, reason=code.name.lower())


def _parsed(text: str) -> Opening:
    try:
        return Opening.model_validate_json(text)
    except FaultyMessage:
        raise Ended(Close.MALFORMED) from None


def _code_of(error: StrongroomError) -> Close:
    match error:
        case NotAllowedError():
            return Close.NOT_ALLOWED
        case DatabaseUnavailableError() | TransientError():
            return Close.TRY_LATER
        case AuthenticationError():
            return Close.UNAUTHENTICATED
        case _:
            raise error


async def _stopped(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
