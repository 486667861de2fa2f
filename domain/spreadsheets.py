"""CSV for people who open it in a spreadsheet (RFC 4180)."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

_FORMULA_STARTS: Final = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
"""What spreadsheets take for the beginning of a formula; East Asian ones the wide forms too."""


def is_formula(text: str) -> bool:
    """Tell whether a spreadsheet could take the text for a formula."""
    return text.lstrip(" ").startswith(_FORMULA_STARTS)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return the rows as CSV; None is an empty cell, and text that is a formula stays text."""
    written = io.StringIO()
    csv.writer(written).writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return "" if value is None else value
    # A quote before it makes a spreadsheet show it as text.
    return f"'{value}" if is_formula(value) else value
