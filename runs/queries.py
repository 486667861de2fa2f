"""Reading runs: one with everything about it, lists, lines page by page, and where they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, func
from sqlalchemy import select as any_select
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import PayoutNotFoundError, PayoutRunNotFoundError, PayoutRunStateError
from domain.payouts import PayoutStatus
from domain.runs import RunStatus
from infra.paging import Page, paged
from models.chain_transactions import ChainBatch, ChainTransaction
from models.payouts import Payout
from models.runs import PayoutRun, PayoutRunLine, RunDecision
from models.wallets import Asset
from payouts.retries import LASTING

RETRY = aliased(Payout)


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Where a run and its lines stand."""

    status: RunStatus
    line_count: int
    lines: dict[str, int]
    """How many are in each ``PayoutStatus``; empty for a draft."""

    @property
    def ended(self) -> int:
        """How many lines have ended, in whichever way."""
        return sum(n for status, n in self.lines.items() if PayoutStatus(status).is_final)

    @property
    def progress(self) -> float:
        """The part of the lines that have ended, from 0 to 1."""
        return self.ended / self.line_count if self.line_count else 0.0


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with the decisions on it."""

    run: PayoutRun
    asset: Asset
    counts: RunCounts
    decisions: list[RunDecision]


@dataclass(frozen=True, slots=True)
class RunLine:
    """A line as it was uploaded, and the payout that it became."""

    line: PayoutRunLine
    payout: Payout | None
    txid: str | None
    retried_by: str | None
    """The payout that pays it again, after it failed."""


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines are wanted."""

    status: PayoutStatus | None = None
    only_problems: bool = False


async def run_for(session: AsyncSession, run_id: str, *, user_id: str | None) -> PayoutRun:
    """
    Return the run; with a ``user_id``, only if it is theirs.

    Raises:
        PayoutRunNotFoundError: There is none, or it is somebody else's: the answer is the same.
    """
    run = await session.get(PayoutRun, run_id)
    if run is None or user_id not in (None, run.user_id):
        raise PayoutRunNotFoundError
    return run


async def started_run_for(session: AsyncSession, run_id: str, *, user_id: str | None) -> PayoutRun:
    """
    Return a run that was started; see ``run_for``.

    Raises:
        PayoutRunStateError: It is a draft.
    """
    run = await run_for(session, run_id, user_id=user_id)
    if run.status == RunStatus.DRAFT:
        msg = "The run is a draft: nothing of it is held."
        raise PayoutRunStateError(msg)
    return run


async def run_counts(session: AsyncSession, run: PayoutRun) -> RunCounts:
    """Return where a run stands; as dear as it has lines."""
    found = await session.exec(
        select(Payout.status, func.count()).where(Payout.run_id == run.id).group_by(Payout.status)
    )
    return RunCounts(RunStatus(run.status), run.line_count, dict(found.all()))


async def run_detail(session: AsyncSession, run_id: str, *, user_id: str | None) -> RunDetail:
    """Return everything about one run but its lines; see ``run_for``."""
    run = await run_for(session, run_id, user_id=user_id)
    decisions = await session.exec(
        select(RunDecision)
        .where(RunDecision.run_id == run_id)
        .order_by(col(RunDecision.decided_at), col(RunDecision.id))
    )
    return RunDetail(
        run=run,
        asset=await session.get_one(Asset, run.asset),
        counts=await run_counts(session, run),
        decisions=list(decisions),
    )


async def list_runs(
    session: AsyncSession, page: Page, *, user_id: str | None, status: RunStatus | None
) -> Sequence[PayoutRun]:
    """Return a page of runs and one row more; of one user, or of all."""
    query = select(PayoutRun)
    if user_id is not None:
        query = query.where(PayoutRun.user_id == user_id)
    if status is not None:
        query = query.where(PayoutRun.status == status)
    query = paged(query, page, created_at=PayoutRun.created_at, row_id=PayoutRun.id)
    return (await session.exec(query)).all()


async def lines_of(
    session: AsyncSession, run_id: str, wanted: LineFilter, *, after: int, limit: int
) -> list[RunLine]:
    """Return up to ``limit`` lines with a number above ``after``, in the file's order."""
    query = lines_query(run_id).where(col(PayoutRunLine.number) > after).limit(limit)
    if wanted.status is not None:
        query = query.where(col(Payout.status) == wanted.status)
    if wanted.only_problems:
        query = query.where(col(PayoutRunLine.problem_code).is_not(None))
    return [RunLine(*row) for row in (await session.execute(query)).all()]


async def line_payout(session: AsyncSession, run_id: str, number: int) -> Payout:
    """
    Return the payout that a line of a started run has become.

    Raises:
        PayoutNotFoundError: There is no such line, or the run is a draft.
    """
    found = await session.exec(
        select(Payout).where(Payout.run_id == run_id, Payout.line_number == number)
    )
    payout = found.first()
    if payout is None:
        raise PayoutNotFoundError
    return payout


def lines_query(run_id: str) -> Select[PayoutRunLine, Payout, Any, Any]:
    """
    Return the statement for a run's lines in the file's order.

    With each go its payout, its txid, and the id of the payout that pays it again.
    """
    txid: Any = col(ChainTransaction.txid)
    retried_by: Any = col(RETRY.id)
    return (
        any_select(PayoutRunLine, Payout, txid, retried_by)
        .outerjoin(
            Payout,
            and_(
                col(Payout.run_id) == col(PayoutRunLine.run_id),
                col(Payout.line_number) == col(PayoutRunLine.number),
            ),
        )
        .outerjoin(ChainTransaction, col(ChainTransaction.id) == col(Payout.chain_transaction_id))
        .outerjoin(
            RETRY,
            and_(col(RETRY.retry_of) == col(Payout.id), col(RETRY.status).in_(LASTING)),
        )
        .where(col(PayoutRunLine.run_id) == run_id)
        .order_by(col(PayoutRunLine.number))
    )


async def held_up_by(session: AsyncSession, run_id: str) -> str | None:
    """Return the error code that most lines in batches wait for, if any do."""
    found = await session.exec(
        select(ChainBatch.waiting_for)
        .join(ChainTransaction, col(ChainTransaction.batch_id) == col(ChainBatch.id))
        .join(Payout, col(Payout.chain_transaction_id) == col(ChainTransaction.id))
        .where(
            Payout.run_id == run_id,
            Payout.status == PayoutStatus.BATCHED,
            col(ChainBatch.waiting_for).is_not(None),
        )
        .group_by(col(ChainBatch.waiting_for))
        .order_by(func.count().desc(), col(ChainBatch.waiting_for))
        .limit(1)
    )
    return found.first()
