"""Cursors: opaque to the caller, a place in a list to us."""

import base64
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Query

from api.schemas.base import ULID_PATTERN, Listed
from domain.errors import InvalidCursorError
from infra.paging import Page, Position

LIMIT_DEFAULT, LIMIT_MAX = 50, 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE = re.compile(rf"(?P<micros>[0-9]{{1,17}}):(?P<id>[a-z]{{3}}_{ULID_PATTERN})")


def encode_cursor(position: Position) -> str:
    """Return the cursor of this place."""
    micros = (position.created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{micros}:{position.id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Position:
    """
    Return the place that a cursor names.

    Raises:
        InvalidCursorError: Not one of ours.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        raise InvalidCursorError from None
    place = _PLACE.fullmatch(text)
    if place is None:
        raise InvalidCursorError
    return Position(_EPOCH + timedelta(microseconds=int(place["micros"])), place["id"])


def page_query(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Most items on the page.")] = (
        LIMIT_DEFAULT
    ),
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before.")
    ] = None,
) -> Page:
    """Return the page that the query asks for."""
    return Page(limit=limit, after=None if cursor is None else decode_cursor(cursor))


PageQuery = Annotated[Page, Depends(page_query)]


def listed[Row, Item](
    rows: Sequence[Row],
    page: Page,
    *,
    item: Callable[[Row], Item],
    position: Callable[[Row], Position],
) -> Listed[Item]:
    """Return a page from its rows and the one after them (see ``infra.paging.paged``)."""
    shown = rows[: page.limit]
    has_more = len(rows) > page.limit
    return Listed(
        items=[item(row) for row in shown],
        next_cursor=encode_cursor(position(shown[-1])) if has_more else None,
    )
