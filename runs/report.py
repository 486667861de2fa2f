"""
The report of a run: a row per line, as CSV or JSON, written to a temporary file.

It is read by a server-side cursor from one state of the database, so that its rows belong
together, and written in pieces, so that memory does not grow with it. A file, because a slow
reader of the answer must not hold a connection to the database.
"""

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import IO, Final, NamedTuple

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import format_units
from models.runs import PayoutRun
from models.wallets import Asset
from runs.formats import is_formula
from runs.queries import RunLine, lines_query

_PIECE_LINES: Final = 500


class ReportFormat(StrEnum):
    """How a report is written."""

    CSV = "csv"
    JSON = "json"

    @property
    def media_type(self) -> str:
        """The media type of such a report."""
        return "text/csv" if self is ReportFormat.CSV else "application/json"


class ReportRow(NamedTuple):
    """What a report says of a line; the names are the columns'."""

    line: int
    payout_id: str
    reference: str | None
    destination: str
    asset: str
    amount: str
    """Whole units."""
    amount_minor: str
    fee_minor: str | None
    """Service fee, in minor units of the asset."""
    status: str
    reason: str | None
    txid: str | None
    network_fee_minor: str | None
    """Its share of what the chain took, in minor units of the chain's native asset."""
    note: str | None


async def write_report(
    session: AsyncSession, run: PayoutRun, file: IO[bytes], form: ReportFormat
) -> None:
    """Write the report of a run, from the session's snapshot."""
    asset = await session.get_one(Asset, run.asset)
    found = await session.stream(lines_query(run.id), execution_options={"yield_per": _PIECE_LINES})
    head, tail = ("[", "\n]\n") if form is ReportFormat.JSON else (_csv([ReportRow._fields]), "")
    await asyncio.to_thread(file.write, head.encode())
    is_first = True
    async for piece in found.partitions():
        rows = [report_row(RunLine(*row), asset) for row in piece]
        await asyncio.to_thread(_write, file, form, rows, is_first=is_first)
        is_first = False
    await asyncio.to_thread(file.write, tail.encode())


def report_row(found: RunLine, asset: Asset) -> ReportRow:
    """Return what the report says of a line."""
    line, payout = found.line, found.payout
    network_fee_minor = None if payout is None else payout.network_fee_minor
    return ReportRow(
        line=line.number,
        payout_id=line.payout_id,
        reference=line.reference,
        destination=line.destination,
        asset=asset.code,
        amount=format_units(line.amount_minor, decimals=asset.decimals),
        amount_minor=str(line.amount_minor),
        fee_minor=None if payout is None else str(payout.fee_minor),
        status="draft" if payout is None else payout.status,
        reason=line.problem_code if payout is None else payout.reason_code,
        txid=found.txid,
        network_fee_minor=None if network_fee_minor is None else str(network_fee_minor),
        note=line.note,
    )


def _write(
    file: IO[bytes], form: ReportFormat, rows: Sequence[ReportRow], *, is_first: bool
) -> None:
    if form is ReportFormat.CSV:
        file.write(_csv(rows).encode())
        return
    documents = (json.dumps(row._asdict(), ensure_ascii=False) for row in rows)
    file.write((("\n" if is_first else ",\n") + ",\n".join(documents)).encode())


def _csv(rows: Sequence[Sequence[object]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    # An upload cannot bring such text in; a quote before it makes a spreadsheet show it as text.
    return f"'{text}" if is_formula(text) else text
