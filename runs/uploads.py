"""
Storing an upload as a draft: read it, check it, keep all of it or nothing.

Lines go to a temporary table first, where they are checked; only then is it known what the run's
row says, which does not change any more. Reading and hashing happen in a thread, so that others
are served meanwhile.
"""

import asyncio
from dataclasses import dataclass
from typing import BinaryIO, Final

from psycopg import AsyncConnection
from sqlalchemy import Column, Insert, MetaData, Table, func, insert, text, update
from sqlalchemy import select as any_select
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    ConflictError,
    FaultyLine,
    InternalAssetError,
    InvalidUploadError,
    UnknownAssetError,
)
from domain.ids import PAYOUT_RUN, new_id
from domain.money import UINT256_MAX
from domain.payouts import Priority
from domain.runs import RunStatus
from infra.database import Database
from models.runs import PayoutRun, PayoutRunLine
from models.wallets import Asset, Chain
from runs.checks import LINES, Yardstick, faulty_lines, totals_of
from runs.formats import UploadFormat
from runs.lines import CheckedLine, LineReader, RunTarget, first_line
from runs.terms import RunTotals

PIECE_LINES: Final = 500
"""Lines that are handed to the database at once: some milliseconds of the event loop."""

_STAGED: Final = Table(
    "staged_line", MetaData(), *(Column(c.name, c.type) for c in LINES.columns), prefixes=["TEMP"]
)
_STAGE: Final = "CREATE TEMP TABLE staged_line (LIKE payout_run_line) ON COMMIT DROP"
_COPY: Final = f"COPY staged_line ({', '.join(CheckedLine._fields)}) FROM STDIN"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came, and what was said about it."""

    file: BinaryIO
    form: UploadFormat
    sha256: str
    """Of the bytes, hex."""
    name: str
    priority: Priority
    user_id: str
    principal_id: str


class RunUploads:
    """Makes drafts of uploads."""

    def __init__(self, database: Database, clock: Clock, *, drafts_max: int) -> None:
        """Take the database as the API's role, and how many drafts a user may have."""
        self._database = database
        self._clock = clock
        self._drafts_max = drafts_max

    async def check_room(self, user_id: str) -> None:
        """
        Pass for a user who may have one more draft.

        Raises:
            ConflictError: They have as many as there may be.
        """
        async with self._database.transaction() as session:
            await self._check_room(session, user_id)

    async def store(self, upload: Upload) -> str:
        """
        Store an upload with what its dry run finds, and return the new run's id.

        Raises:
            InvalidUploadError: Lines cannot be read; nothing is stored.
            ConflictError: The user has as many drafts as there may be.
        """
        first = await asyncio.to_thread(first_line, upload.file, upload.form)
        run_id = new_id(PAYOUT_RUN)
        async with self._database.transaction() as session:
            asset, chain = await self._asset(session, first.asset, at=first.number)
            target = RunTarget(run_id, asset.code, asset.decimals, chain.family, chain.id)
            reader = LineReader(upload.file, upload.form, target)
            await _stage(session, reader)
            reader.faults.refuse_any()
            yardstick = Yardstick(upload.user_id, asset, chain, self._clock.now())
            problem_count = await _note_problems(session, run_id, yardstick)
            totals = await totals_of(session, _STAGED, run_id, asset)
            _check_sum(totals)
            # From here to the commit one upload of a user at a time, so that drafts are counted.
            await session.execute(
                any_select(func.pg_advisory_xact_lock(func.hashtextextended(upload.user_id, 0)))
            )
            await self._check_room(session, upload.user_id)
            session.add(
                self._run(upload, totals, run_id=run_id, asset=asset, problem_count=problem_count)
            )
            await session.flush()
            await session.execute(_moved())
        return run_id

    async def _check_room(self, session: AsyncSession, user_id: str) -> None:
        drafts = await session.exec(
            select(func.count())
            .select_from(PayoutRun)
            .where(PayoutRun.user_id == user_id, PayoutRun.status == RunStatus.DRAFT)
        )
        if drafts.one() >= self._drafts_max:
            msg = f"There may be {self._drafts_max} drafts; start or discard one."
            raise ConflictError(msg)

    @staticmethod
    async def _asset(session: AsyncSession, code: str, *, at: int) -> tuple[Asset, Chain]:
        asset = await session.get(Asset, code)
        if asset is None or not asset.enabled:
            fault = FaultyLine(at, UnknownAssetError.code, "There is no such asset.")
            raise InvalidUploadError("The asset is not known.", lines=[fault], line_count=1)
        if asset.chain_id is None:
            fault = FaultyLine(at, InternalAssetError.code, "The asset is on no chain.")
            raise InvalidUploadError("The asset cannot be paid out.", lines=[fault], line_count=1)
        return asset, await session.get_one(Chain, asset.chain_id)

    def _run(
        self, upload: Upload, totals: RunTotals, *, run_id: str, asset: Asset, problem_count: int
    ) -> PayoutRun:
        now = self._clock.now()
        return PayoutRun(
            id=run_id,
            user_id=upload.user_id,
            principal=upload.principal_id,
            name=upload.name,
            asset=asset.code,
            chain_id=asset.home_chain_id,
            priority=upload.priority,
            content_sha256=upload.sha256,
            line_count=totals.line_count,
            total_minor=totals.total_minor,
            fee_total_minor=totals.fee_total_minor,
            problem_count=problem_count,
            status=RunStatus.DRAFT,
            created_at=now,
            updated_at=now,
        )


async def _stage(session: AsyncSession, reader: LineReader) -> None:
    await session.execute(text(_STAGE))
    raw = (await (await session.connection()).get_raw_connection()).driver_connection
    assert isinstance(raw, AsyncConnection)
    async with raw.cursor() as cursor, cursor.copy(_COPY) as copy:
        while piece := await asyncio.to_thread(reader.piece, PIECE_LINES):
            for line in piece:
                await copy.write_row(line)
    # A temporary table has no statistics of its own accord, and the planner would expect few rows.
    await session.execute(text("ANALYZE staged_line"))


async def _note_problems(session: AsyncSession, run_id: str, yardstick: Yardstick) -> int:
    faulty = faulty_lines(_STAGED, run_id, yardstick).subquery("faulty")
    await session.execute(
        update(_STAGED)
        .where(_STAGED.c.number == faulty.c.number)
        .values(problem_code=faulty.c.code, problem_detail=faulty.c.detail)
    )
    counted = await session.execute(
        any_select(func.count()).select_from(_STAGED).where(_STAGED.c.problem_code.is_not(None))
    )
    return int(counted.scalar_one())


def _moved() -> Insert:
    """Return the statement that stores what was staged."""
    names = [c.name for c in LINES.columns]
    return insert(PayoutRunLine).from_select(
        names, any_select(*(_STAGED.c[name] for name in names)).order_by(_STAGED.c.number)
    )


def _check_sum(totals: RunTotals) -> None:
    if totals.total_minor + totals.fee_total_minor > UINT256_MAX:
        msg = "The amounts and fees add up to more than 2^256 - 1 minor units."
        raise InvalidUploadError(msg)
