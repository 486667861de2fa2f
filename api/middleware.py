"""
What surrounds every request: its id, a bound on its body, protective headers, a last resort.

Plain ASGI, so that streamed answers stay streamed.
"""

import logging
import re
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response
from domain.errors import BodyTooLargeError, StrongroomError
from domain.ids import new_id

BODY_BYTES_MAX: Final = 1024 * 1024
REQUEST_ID_HEADER: Final = "X-Request-Id"

_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROTECTIVE_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

_log = logging.getLogger(__name__)


class ResponseHeaders:
    """Adds the request's id and the protective headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        # A stranger's id ends up in the log, so only harmless characters are taken over.
        request_id = given if _GIVEN_ID.fullmatch(given) else new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                for name, value in _PROTECTIVE_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class LastResort:
    """Answers an unexpected exception without telling anything about it."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def watched_send(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception:
            if has_started:
                raise
            _log.exception("unexpected error in request %s", scope["state"]["request_id"])
            response = problem_response(StrongroomError(), instance=scope["path"])
            await response(scope, receive, send)


class BodyLimit:
    """
    Refuses bodies above ``BODY_BYTES_MAX``, announced or not; what takes uploads has its own limit.

    The framework has a limit of its own, which answers in plain text.
    """

    def __init__(
        self, app: ASGIApp, *, upload_path: str = "", upload_bytes_max: int = BODY_BYTES_MAX
    ) -> None:
        """Wrap the application; ``upload_path`` takes POSTs of up to ``upload_bytes_max``."""
        self._app = app
        self._upload_path, self._upload_bytes_max = upload_path, upload_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = (scope["method"], scope["path"]) == ("POST", self._upload_path)
        bytes_max = self._upload_bytes_max if is_upload else BODY_BYTES_MAX
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > bytes_max:
            response = problem_response(BodyTooLargeError(), instance=scope["path"])
            await response(scope, receive, send)
            return
        seen_bytes = 0

        async def counted_receive() -> Message:
            nonlocal seen_bytes
            message = await receive()
            seen_bytes += len(message.get("body", b""))
            if seen_bytes > bytes_max:
                # The framework passes only its own exception on while it reads a body.
                raise HTTPException(BodyTooLargeError.http_status)
            return message

        await self._app(scope, counted_receive, send)
