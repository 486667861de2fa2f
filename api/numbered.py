"""Cursors for lists that are numbered, such as an account's entries: an opaque number."""

import base64
import re
from typing import Annotated

from fastapi import Depends, Query

from api.pagination import LIMIT_DEFAULT, LIMIT_MAX
from domain.errors import InvalidCursorError

_NUMBER = re.compile(r"n:([0-9]{1,15})")


def encode_number(number: int) -> str:
    """Return the cursor that stands for everything below this number."""
    return base64.urlsafe_b64encode(f"n:{number}".encode()).decode().rstrip("=")


def decode_number(cursor: str) -> int:
    """
    Return the number that a cursor stands for.

    Raises:
        InvalidCursorError: Not one of ours.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        raise InvalidCursorError from None
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise InvalidCursorError
    return int(found[1])


def before_query(
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before.")
    ] = None,
) -> int | None:
    """Return the number below which the page begins; None for the newest."""
    return None if cursor is None else decode_number(cursor)


Before = Annotated[int | None, Depends(before_query)]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Most items on the page.")]
LIMIT = LIMIT_DEFAULT
