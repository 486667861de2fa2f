"""Operations and statements as files, written in pieces to where the answer is sent from."""

import asyncio
from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import IO, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import StatementTooLongError
from domain.spreadsheets import csv_text
from transactions.queries import TransactionFilter, WalletTransaction, stream_transactions
from transactions.statement_pdf import draw_statement
from transactions.statements import Section, Statement, StatementEntry, statement_entries
from transactions.wording import described, placed

PDF_LINES_MAX: Final = 5_000

_STATEMENT_COLUMNS: Final = (
    "asset",
    "place",
    "recorded_at",
    "description",
    "transaction_id",
    "counterparty",
    "amount",
    "balance",
    "amount_minor",
    "balance_minor",
)
_LIST_COLUMNS: Final = tuple(
    name for name in WalletTransaction.__dataclass_fields__ if name != "user_id"
)


class StatementFormat(StrEnum):
    """How a statement's file is written."""

    CSV = "csv"
    PDF = "pdf"

    @property
    def media_type(self) -> str:
        """The media type of such a file."""
        return "text/csv" if self is StatementFormat.CSV else "application/pdf"


async def write_transactions(
    session: AsyncSession, wanted: TransactionFilter, file: IO[bytes]
) -> None:
    """Write all operations that the filter leaves, newest first, as CSV."""
    await _write(file, [_LIST_COLUMNS])
    async for piece in stream_transactions(session, wanted):
        await _write(file, [[_text(getattr(t, name)) for name in _LIST_COLUMNS] for t in piece])


async def write_statement(
    session: AsyncSession, statement: Statement, file: IO[bytes], form: StatementFormat
) -> None:
    """
    Write a statement, from its snapshot.

    Raises:
        StatementTooLongError: It has more than ``PDF_LINES_MAX`` lines and a PDF is wanted.
    """
    if form is StatementFormat.CSV:
        await _write_csv(session, statement, file)
        return
    if statement.lines > PDF_LINES_MAX:
        msg = f"It has {statement.lines} lines; a PDF has at most {PDF_LINES_MAX}."
        raise StatementTooLongError(msg)
    entries = [entry async for piece in statement_entries(session, statement) for entry in piece]
    await asyncio.to_thread(draw_statement, statement, entries, file)


async def _write_csv(session: AsyncSession, statement: Statement, file: IO[bytes]) -> None:
    await _write(file, [_STATEMENT_COLUMNS])
    # Sections come in the order of their lines; those without any are written where they belong.
    waiting = list(statement.sections)
    begun: list[Section] = []
    async for piece in statement_entries(session, statement):
        rows: list[Sequence[object]] = []
        for entry in piece:
            while waiting and entry.section not in begun:
                rows += _between(begun, waiting, statement)
            rows.append(_row(entry))
        await _write(file, rows)
    rest: list[Sequence[object]] = []
    while waiting:
        rest += _between(begun, waiting, statement)
    await _write(file, rest + _closing(begun, statement))


def _between(
    begun: list[Section], waiting: list[Section], statement: Statement
) -> list[Sequence[object]]:
    """Return the rows that close the section before and open the next one."""
    rows = _closing(begun, statement)
    section = waiting.pop(0)
    begun.append(section)
    at, minor = statement.month.starts_at, section.opening_minor
    return [*rows, _balance_row(section, at.isoformat(), "Opening balance", minor)]


def _closing(begun: Sequence[Section], statement: Statement) -> list[Sequence[object]]:
    if not begun:
        return []
    at, minor = statement.month.ends_at, begun[-1].closing_minor
    return [_balance_row(begun[-1], at.isoformat(), "Closing balance", minor)]


def _balance_row(section: Section, at: str, words: str, minor: int) -> Sequence[object]:
    place = placed(section)
    return (section.asset, place, at, words, None, None, None, _units(section, minor), None, minor)


def _row(entry: StatementEntry) -> Sequence[object]:
    section = entry.section
    return (
        section.asset,
        placed(section),
        entry.recorded_at.isoformat(),
        described(entry),
        entry.reference,
        entry.transaction.counterparty if entry.transaction else None,
        _units(section, entry.amount_minor),
        _units(section, entry.balance_minor),
        entry.amount_minor,
        entry.balance_minor,
    )


def _units(section: Section, minor: int) -> Decimal:
    # A number, not text: a minus in front of text would be taken for a formula.
    with localcontext(prec=100):
        return Decimal(minor).scaleb(-section.decimals)


def _text(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value


async def _write(file: IO[bytes], rows: Iterable[Sequence[object]]) -> None:
    await asyncio.to_thread(file.write, csv_text(rows).encode())
