"""
The report of a run: a row per line, as CSV or JSON, written to a temporary file.

It is read by a server-side cursor from one state of the database, so that its rows belong
together, and written in pieces, so that memory does not grow with it. A file, because a slow
reader of the answer must not hold a connection to the database.
"""

import asyncio
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import IO, Any, Final, NamedTuple

from sqlalchemy import Select, func
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import format_units
from domain.runs import RunStatus
from domain.spreadsheets import csv_text
from models.chain_transactions import ChainTransaction
from models.payouts import Payout
from models.runs import PayoutRun, PayoutRunLine
from models.wallets import Asset
from runs.queries import RETRY, lines_query

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
    retried_by: str | None
    """The payout that pays it again."""


async def write_report(
    session: AsyncSession, run: PayoutRun, file: IO[bytes], form: ReportFormat
) -> None:
    """Write the report of a run, from the session's snapshot."""
    asset = await session.get_one(Asset, run.asset)
    # Columns, not entities: a hundred thousand of those would keep the event loop busy.
    found = await session.stream(_query(run.id), execution_options={"yield_per": _PIECE_LINES})
    head, tail = (
        ("[", "\n]\n") if form is ReportFormat.JSON else (csv_text([ReportRow._fields]), "")
    )
    await asyncio.to_thread(file.write, head.encode())
    is_first = True
    async for piece in found.partitions():
        await asyncio.to_thread(_write, file, form, piece, asset, is_first=is_first)
        is_first = False
    await asyncio.to_thread(file.write, tail.encode())


def _query(run_id: str) -> Select[*tuple[Any, ...]]:
    """Return the statement for what ``_row`` takes."""
    line, payout = PayoutRunLine, Payout
    return lines_query(run_id).with_only_columns(
        col(line.number),
        col(line.payout_id),
        col(line.reference),
        col(line.destination),
        col(line.amount_minor),
        col(payout.fee_minor),
        func.coalesce(col(payout.status), RunStatus.DRAFT),
        # A line that was refused has no payout, and a payout's reason is the newer one.
        func.coalesce(col(payout.reason_code), col(line.problem_code)),
        col(ChainTransaction.txid),
        col(payout.network_fee_minor),
        col(line.note),
        col(RETRY.id),
    )


def _row(found: Sequence[Any], asset: Asset) -> ReportRow:
    number, payout_id, reference, destination, amount_minor, fee, *rest = found
    status, reason, txid, network_fee, note, retried_by = rest
    return ReportRow(
        line=number,
        payout_id=payout_id,
        reference=reference,
        destination=destination,
        asset=asset.code,
        amount=format_units(amount_minor, decimals=asset.decimals),
        amount_minor=str(amount_minor),
        fee_minor=None if fee is None else str(fee),
        status=status,
        reason=reason,
        txid=txid,
        network_fee_minor=None if network_fee is None else str(network_fee),
        note=note,
        retried_by=retried_by,
    )


def _write(
    file: IO[bytes],
    form: ReportFormat,
    piece: Sequence[Sequence[Any]],
    asset: Asset,
    *,
    is_first: bool,
) -> None:
    rows = [_row(found, asset) for found in piece]
    if form is ReportFormat.CSV:
        file.write(csv_text(rows).encode())
        return
    documents = (json.dumps(row._asdict(), ensure_ascii=False) for row in rows)
    file.write((("\n" if is_first else ",\n") + ",\n".join(documents)).encode())
