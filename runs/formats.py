"""
Reading an upload: CSV (RFC 4180) or JSON lines, one payment to a line. Pure; line by line.

What is stored here is shown to people in spreadsheets later, so text that a spreadsheet or a
terminal would take for more than text is refused. A payment is one physical line in both formats:
a line's number is where an editor shows it.
"""

import csv
import itertools
import json
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import BinaryIO, Final, NamedTuple

from domain.errors import FaultyLine
from domain.runs import LINES_MAX
from domain.spreadsheets import is_formula

LINE_BYTES_MAX: Final = 4_096
BLANK_LINES_MAX: Final = 1_000
"""Blank lines at the end are forgiven, but a file of them is not read to its end."""

REQUIRED: Final = ("destination", "asset")
AMOUNTS: Final = ("amount", "amount_minor")
"""Whole units as people write them, or minor units; a file has one of the two."""
LENGTHS_MAX: Final[Mapping[str, int]] = {
    "destination": 128,
    "asset": 32,
    "amount": 160,
    "amount_minor": 160,
    "reference": 100,
    "note": 200,
}
"""Every column there is, and how many characters a cell of it may have."""

_BOM: Final = b"\xef\xbb\xbf"
_NAME_SHOWN_MAX: Final = 40
_LINE_END_BYTES: Final = 2
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
"""
Unicode's categories of what nobody sees: control and format characters, what parts lines and
paragraphs or turns text around, and lone surrogates. Two texts may differ in nothing else.
"""


class UploadFormat(StrEnum):
    """How an upload is written, by its media type."""

    CSV = "text/csv"
    JSON_LINES = "application/x-ndjson"


class Fault(StrEnum):
    """Why a line cannot be read. Codes of ``domain.errors`` are used where they fit."""

    LINE_TOO_LONG = "line_too_long"
    NOT_UTF8 = "not_utf8"
    BLANK_LINE = "blank_line"
    MALFORMED = "malformed_line"
    COLUMNS = "invalid_columns"
    NOT_TEXT = "not_text"
    MISSING = "missing_value"
    TOO_LONG = "value_too_long"
    CONTROL_CHARACTER = "control_character"
    FORMULA = "formula"
    AMOUNT = "invalid_amount"
    MIXED_ASSETS = "mixed_assets"
    TOO_MANY_LINES = "too_many_lines"


class RawLine(NamedTuple):
    """A line as it was written."""

    number: int
    destination: str
    asset: str
    amount: str
    is_minor: bool
    """Whether the amount counts minor units."""
    reference: str | None
    note: str | None


class _FaultError(Exception):
    """Why the present line cannot be read."""

    def __init__(self, code: Fault, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail

    def at(self, number: int) -> FaultyLine:
        return FaultyLine(number, self.code, self.detail)


def read_lines(file: BinaryIO, form: UploadFormat) -> Iterator[RawLine | FaultyLine]:
    """
    Yield each payment of a file, or why its line is none, in the file's order.

    Memory does not grow with the file. A CSV whose header is wrong yields the header's fault alone.
    """
    texts = _texts(file)
    payments = _csv_payments(texts) if form is UploadFormat.CSV else _json_payments(texts)
    for count, payment in enumerate(payments):
        if count == LINES_MAX:
            yield FaultyLine(
                payment[0], Fault.TOO_MANY_LINES, f"A run has at most {LINES_MAX} lines."
            )
            return
        yield payment


def _texts(file: BinaryIO) -> Iterator[tuple[int, str] | FaultyLine]:
    """Yield each line's number and text; blank lines count as faults unless they end the file."""
    blank: list[int] = []
    for number in itertools.count(1):
        piece = file.readline(LINE_BYTES_MAX + _LINE_END_BYTES + 1)
        if not piece:
            return
        content = piece.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            content = content.removeprefix(_BOM)
        if not content:
            blank.append(number)
            if len(blank) > BLANK_LINES_MAX:
                detail = f"More than {BLANK_LINES_MAX} blank lines; the rest was not read."
                yield FaultyLine(blank[0], Fault.BLANK_LINE, detail)
                return
            continue
        yield from (FaultyLine(n, Fault.BLANK_LINE, "A line is a payment.") for n in blank)
        blank.clear()
        yield _decoded(number, content)
        if len(content) > LINE_BYTES_MAX:
            _skip_rest(file, piece)


def _skip_rest(file: BinaryIO, piece: bytes) -> None:
    while piece and not piece.endswith(b"\n"):
        piece = file.readline(LINE_BYTES_MAX)


def _decoded(number: int, content: bytes) -> tuple[int, str] | FaultyLine:
    if len(content) > LINE_BYTES_MAX:
        return FaultyLine(
            number, Fault.LINE_TOO_LONG, f"A line has at most {LINE_BYTES_MAX} bytes."
        )
    try:
        return number, content.decode()
    except UnicodeDecodeError as error:
        return FaultyLine(number, Fault.NOT_UTF8, f"Not UTF-8 at byte {error.start + 1}.")


def _csv_payments(
    texts: Iterator[tuple[int, str] | FaultyLine],
) -> Iterator[RawLine | FaultyLine]:
    header = next(texts, None)
    if header is None:
        return
    if isinstance(header, FaultyLine):
        yield header
        return
    try:
        columns = _cells(header[1])
        _check_columns(columns)
    except _FaultError as fault:
        yield fault.at(header[0])
        return
    for text in texts:
        yield text if isinstance(text, FaultyLine) else _csv_payment(*text, columns)


def _csv_payment(number: int, text: str, columns: list[str]) -> RawLine | FaultyLine:
    try:
        return _payment(number, _row(_cells(text), columns))
    except _FaultError as fault:
        return fault.at(number)


def _row(cells: list[str], columns: list[str]) -> dict[str, str]:
    if len(cells) != len(columns):
        detail = f"{len(cells)} cells where the header has {len(columns)}."
        raise _FaultError(Fault.MALFORMED, detail)
    return dict(zip(columns, cells, strict=True))


def _cells(text: str) -> list[str]:
    # A line break inside quotes would be a control character as well: a row is one line.
    if _has_invisible(text):
        raise _FaultError(Fault.CONTROL_CHARACTER, "Control characters are not allowed.")
    try:
        return next(csv.reader((text,), strict=True))
    except csv.Error as error:
        raise _FaultError(Fault.MALFORMED, "The quotes do not match (RFC 4180).") from error


def _has_invisible(text: str) -> bool:
    # Whatever is printable is not among them, and telling that is far quicker.
    return not text.isprintable() and any(unicodedata.category(c) in _INVISIBLE for c in text)


def _check_columns(columns: list[str]) -> None:
    for position, name in enumerate(columns):
        if name not in LENGTHS_MAX:
            detail = f"There is no column {name[:_NAME_SHOWN_MAX]!r}."
            raise _FaultError(Fault.COLUMNS, detail)
        if name in columns[:position]:
            raise _FaultError(Fault.COLUMNS, f"The column {name!r} is there twice.")
    for name in REQUIRED:
        if name not in columns:
            raise _FaultError(Fault.COLUMNS, f"The column {name!r} is missing.")
    if sum(name in columns for name in AMOUNTS) != 1:
        detail = "There must be a column 'amount' or a column 'amount_minor', not both."
        raise _FaultError(Fault.COLUMNS, detail)


def _json_payments(
    texts: Iterator[tuple[int, str] | FaultyLine],
) -> Iterator[RawLine | FaultyLine]:
    for text in texts:
        yield text if isinstance(text, FaultyLine) else _json_payment(*text)


def _json_payment(number: int, text: str) -> RawLine | FaultyLine:
    try:
        pairs = _pairs(text)
        _check_columns([name for name, _ in pairs])
        return _payment(number, {name: _string(name, value) for name, value in pairs})
    except _FaultError as fault:
        return fault.at(number)


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _FaultError(Fault.NOT_TEXT, f"{name!r} must be a string.")
    if _has_invisible(value):
        raise _FaultError(Fault.CONTROL_CHARACTER, f"Control characters in {name!r}.")
    return value


class _Pairs(list[tuple[str, object]]):
    """An object's members in their order, doubled ones too; told apart from an array."""


def _pairs(text: str) -> _Pairs:
    try:
        found = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise _FaultError(Fault.MALFORMED, "Not JSON (RFC 8259).") from None
    if not isinstance(found, _Pairs):
        raise _FaultError(Fault.MALFORMED, "Not a JSON object.")
    return found


def _payment(number: int, cells: Mapping[str, str]) -> RawLine:
    for name, value in cells.items():
        if len(value) > LENGTHS_MAX[name]:
            detail = f"{name!r} has at most {LENGTHS_MAX[name]} characters."
            raise _FaultError(Fault.TOO_LONG, detail)
        # Amounts have a form of their own, which no formula has.
        if name not in AMOUNTS and is_formula(value):
            detail = f"{name!r} begins, or goes on after ; , as a formula does (=, +, -, @)."
            raise _FaultError(Fault.FORMULA, detail)
    is_minor = "amount_minor" in cells
    amount = cells["amount_minor" if is_minor else "amount"]
    for name, value in (("amount", amount), *((name, cells[name]) for name in REQUIRED)):
        if not value:
            raise _FaultError(Fault.MISSING, f"{name!r} is empty.")
    return RawLine(
        number,
        cells["destination"],
        cells["asset"],
        amount,
        is_minor,
        cells.get("reference") or None,
        cells.get("note") or None,
    )
