"""Keyset paging: a place in a list, and the rows that come after it. No offsets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import tuple_
from sqlalchemy.sql.selectable import Select as AnySelect
from sqlmodel import col


@dataclass(frozen=True, slots=True)
class Position:
    """The last row that a reader has seen, in a list sorted by creation."""

    created_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Which stretch of a list is wanted; newest rows come first."""

    limit: int = 50
    after: Position | None = None


def paged[Row: AnySelect[*tuple[Any, ...]]](statement: Row, page: Page, *, created_at: Any, row_id: Any) -> Row:
    """
    Return the statement sorted newest first, cut to the page and one row more.

    The extra row tells the caller whether another page follows.
    """
    if page.after is not None:
        place = tuple_(col(created_at), col(row_id))
        statement = statement.where(place < (page.after.created_at, page.after.id))
    return statement.order_by(col(created_at).desc(), col(row_id).desc()).limit(page.limit + 1)
