"""
Every error leaves as ``application/problem+json`` (RFC 9457), and no answer repeats what was sent.

``problem_responses`` documents the same errors in OpenAPI, so that no answer is a surprise.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from api.schemas.problems import FieldProblem, LineProblem, Problem
from domain.errors import (
    AuthenticationError,
    BodyTooLargeError,
    DatabaseUnavailableError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    InvalidUploadError,
    MalformedJsonError,
    MethodNotAllowedError,
    NotAllowedError,
    NotFoundError,
    ScopeMissingError,
    SecondFactorInvalidError,
    SecondFactorLockedError,
    SecondFactorNotEnabledError,
    SecondFactorRequiredError,
    SessionExpiredError,
    StrongroomError,
    UnsupportedMediaTypeError,
    ValidationError,
)

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2
"""How long to wait after a transient error, in seconds."""

_FIELD_ERRORS_MAX: Final = 20
_FIELD_NAME_MAX: Final = 100

_HTTP_ERRORS: Final[Mapping[int, type[StrongroomError]]] = {
    error.http_status: error
    for error in (
        MalformedJsonError,
        AuthenticationError,
        NotAllowedError,
        NotFoundError,
        MethodNotAllowedError,
        BodyTooLargeError,
        UnsupportedMediaTypeError,
        StrongroomError,
    )
}

_log = logging.getLogger(__name__)


def problem_response(error: StrongroomError, *, instance: str) -> JSONResponse:
    """Return the answer for an expected error, with the headers its status asks for."""
    content = Problem(
        type=problem_type(error.code),
        title=error.title,
        status=error.http_status,
        detail=error.detail,
        instance=instance,
        code=error.code,
        errors=[FieldProblem.model_validate(entry) for entry in error.errors],
        **_faulty_lines(error),
    )
    return JSONResponse(
        # Only an upload has lines: elsewhere the members are not there.
        content.model_dump(exclude_none=True),
        status_code=error.http_status,
        headers=_headers(error),
        media_type=PROBLEM_MEDIA_TYPE,
    )


def _faulty_lines(error: StrongroomError) -> dict[str, Any]:
    if not isinstance(error, InvalidUploadError):
        return {}
    lines = [LineProblem.model_validate(line._asdict()) for line in error.lines]
    return {"lines": lines, "lines_total": error.line_count}


def problem_type(code: str) -> str:
    """Return the ``type`` member: a URI reference into the documentation."""
    return f"/problems/{code}"


def problem_responses(*errors: type[StrongroomError]) -> dict[int | str, dict[str, Any]]:
    """Return what ``responses=`` takes: these errors, by status, each with an example."""
    documented: list[type[StrongroomError]] = [*errors, StrongroomError, DatabaseUnavailableError]
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in documented:
        entry = by_status.setdefault(
            error.http_status,
            {
                "description": HTTPStatus(error.http_status).phrase,
                "content": {
                    PROBLEM_MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        example = {
            "summary": _first_line(error),
            "value": {
                "type": problem_type(error.code),
                "title": error.title,
                "status": error.http_status,
                "detail": error.title,
                "instance": "/v1/…",
                "code": error.code,
                "errors": [],
            },
        }
        entry["content"][PROBLEM_MEDIA_TYPE]["examples"][error.code] = example
    return by_status


BODY_PROBLEMS: Final = (
    MalformedJsonError,
    BodyTooLargeError,
    UnsupportedMediaTypeError,
    ValidationError,
)
"""What any operation with a JSON body may answer."""

SESSION_PROBLEMS: Final = (AuthenticationError, SessionExpiredError, ScopeMissingError)
"""What any operation may answer that asks who the caller is."""

SECOND_FACTOR_PROBLEMS: Final = (
    SecondFactorNotEnabledError,
    SecondFactorRequiredError,
    SecondFactorInvalidError,
    SecondFactorLockedError,
)
"""What any operation may answer that asks for a second factor."""


def install_problem_handlers(app: FastAPI) -> None:
    """Make the application answer every error as a problem."""
    app.add_exception_handler(StrongroomError, _on_expected_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)


async def _on_expected_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StrongroomError)
    if error.retryable:
        _log.warning("%s: %s", error.code, error.detail)
    elif error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s", error.code, error.detail, exc_info=error)
    return problem_response(error, instance=request.url.path)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    known = _HTTP_ERRORS.get(error.status_code, StrongroomError)
    response = problem_response(known(), instance=request.url.path)
    response.headers.update(error.headers or {})
    if known is MethodNotAllowedError:
        response.headers["Allow"] = _allowed_methods(request)
    return response


def _allowed_methods(request: Request) -> str:
    # The router names the methods of the first route at this path only; RFC 9110 wants all.
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.path_regex is not None and route.path_regex.match(request.scope["path"]):
            methods |= route.methods or set()
    return ", ".join(sorted(methods))


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return problem_response(_validation_problem(error), instance=request.url.path)


def _validation_problem(error: RequestValidationError) -> StrongroomError:
    found = error.errors()
    # The framework hands over the raw bytes when the Content-Type does not announce JSON.
    if isinstance(error.body, bytes):
        return UnsupportedMediaTypeError("Send the body as application/json.")
    for entry in found:
        if entry["type"] == "json_invalid":
            return MalformedJsonError(f"Not JSON at character {entry['loc'][-1]}.")
        if tuple(entry["loc"]) == ("header", "Idempotency-Key"):
            is_missing = entry["type"] == "missing"
            return IdempotencyKeyMissingError() if is_missing else IdempotencyKeyInvalidError()
    fields = [
        {"field": _field_name(entry["loc"]), "message": _message(entry)}
        for entry in found[:_FIELD_ERRORS_MAX]
    ]
    return ValidationError(errors=fields)


def _field_name(location: tuple[int | str, ...]) -> str:
    # The first part says where: body, query, path or header.
    return ".".join(str(part) for part in location[1:] or location)[:_FIELD_NAME_MAX]


def _message(entry: Mapping[str, Any]) -> str:
    if entry["type"] == "union_tag_invalid":
        return "Unknown kind."  # pydantic's own message repeats the input
    return str(entry["msg"]).removeprefix("Value error, ")


def _headers(error: StrongroomError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    wait_s = getattr(error, "retry_after_s", RETRY_AFTER_S if error.retryable else None)
    if wait_s is not None:
        headers["Retry-After"] = str(wait_s)
    return headers


def _first_line(error: type[StrongroomError]) -> str:
    return (error.__doc__ or error.title).strip().partition("\n")[0]
