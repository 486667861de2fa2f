"""CSV for people who open it in a spreadsheet (RFC 4180)."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

_FORMULA: Final = re.compile(
    "\\A *[=+@\t\r\uff1d\uff0b\uff0d\uff20-]|(?<=[;\t\r\n]) *[=+@\uff1d\uff0b\uff0d\uff20-]"
)
"""
What spreadsheets take for the beginning of a formula; East Asian ones the wide forms too.

Half the world's part the cells of a CSV file at semicolons, and all can be told to at tabs: what
follows one begins a cell there.
"""


def is_formula(text: str) -> bool:
    """Tell whether a spreadsheet could take the text, or a part of it, for a formula."""
    return _FORMULA.search(text) is not None


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return the rows as CSV; None is an empty cell, and text that is a formula stays text."""
    written = io.StringIO()
    csv.writer(written).writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        # Python writes small ones, and a zero of many places, with an exponent.
        return f"{value:f}"
    if not isinstance(value, str):
        return "" if value is None else value
    # A quote before it makes a spreadsheet show it as text.
    return _FORMULA.sub(lambda found: f"'{found.group()}", value)
