"""
Moving many lines of a run at once, each with a line of its history, by as few statements.

A run's lines are taken page by page, so that a hundred thousand need no more memory than a page.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import any_, func, insert, literal, update
from sqlalchemy import select as sa_select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import bindparam
from sqlmodel import Integer, String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import PayoutRunStateError
from domain.payouts import PayoutStatus
from domain.runs import LineContent, lines_hash
from events.outbox import publish
from ledger.posting import Posting
from ledger.service import Ledger
from models.ledger import Hold
from models.payouts import Payout, PayoutEvent
from models.runs import PayoutRun
from payouts.money import release_posting, return_postings
from payouts.news import lines_ended

PAGE_LINES = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """What deciding on a line needs to know of it."""

    payout_id: str
    number: int
    amount_minor: int
    fee_minor: int
    is_captured: bool
    status: PayoutStatus


async def locked_pages(
    session: AsyncSession,
    run_id: str,
    *,
    statuses: Collection[PayoutStatus],
    numbers: Sequence[int] | None = None,
) -> AsyncIterator[list[Line]]:
    """
    Yield a run's lines in these states, locked in order of id until the unit of work ends.

    Lines of a page may be moved before the next is asked for.
    """
    after = ""
    while page := await _locked_page(session, run_id, statuses, numbers, after=after):
        yield page
        after = page[-1].payout_id


async def _locked_page(
    session: AsyncSession,
    run_id: str,
    statuses: Collection[PayoutStatus],
    numbers: Sequence[int] | None,
    *,
    after: str,
) -> list[Line]:
    query = (
        sa_select(
            col(Payout.id),
            col(Payout.line_number),
            col(Payout.amount_minor),
            col(Payout.fee_minor),
            col(Payout.is_captured),
            col(Payout.status),
        )
        .where(
            col(Payout.run_id) == run_id,
            col(Payout.status).in_(statuses),
            col(Payout.id) > after,
        )
        .order_by(col(Payout.id))
        .limit(PAGE_LINES)
        .with_for_update()
    )
    if numbers is not None:
        query = query.where(
            col(Payout.line_number) == any_(bindparam(None, list(numbers), ARRAY(Integer)))
        )
    found = await session.execute(query)
    return [Line(i, int(n), a, f, c, PayoutStatus(s)) for i, n, a, f, c, s in found]


async def move_lines(
    session: AsyncSession,
    lines: Sequence[Line],
    status: PayoutStatus,
    *,
    clock: Clock,
    detail: str | None = None,
) -> None:
    """Set the status of lines that the caller has locked, and note it in their histories."""
    ids = bindparam("ids", [line.payout_id for line in lines], ARRAY(String))
    now = clock.now()
    await session.execute(
        update(Payout)
        .where(col(Payout.id) == any_(ids))
        .values(status=status, updated_at=now, reason_code=None)
        .execution_options(synchronize_session=False)
    )
    events = select(func.unnest(ids), literal(status.value), literal(detail, String), literal(now))
    await session.execute(
        insert(PayoutEvent).from_select(["payout_id", "status", "detail", "at"], events)
    )


async def give_back(
    session: AsyncSession,
    run: PayoutRun,
    statuses: Collection[PayoutStatus],
    status: PayoutStatus,
    *,
    clock: Clock,
    numbers: Sequence[int] | None = None,
    detail: str | None = None,
) -> None:
    """
    End lines that will not be paid: their money is available again, and one event tells of it.

    Raises:
        PayoutRunStateError: Lines were chosen, and not all of them are in these states.
    """
    postings: list[Posting] = []
    found: set[int] = set()
    amount_minor = 0
    async for lines in locked_pages(session, run.id, statuses=statuses, numbers=numbers):
        postings += await _returning(session, run, lines, clock=clock)
        await move_lines(session, lines, status, clock=clock, detail=detail)
        found.update(line.number for line in lines)
        amount_minor += sum(line.amount_minor for line in lines)
    check_all(numbers, found)
    if found:
        event = lines_ended(
            user_id=run.user_id,
            run_id=run.id,
            asset=run.asset,
            status=status,
            line_count=len(found),
            amount_minor=amount_minor,
        )
        await publish(session, event)
    # Once, and last: the end of the hash chain stays locked from here to the commit.
    await Ledger.post_in(session, postings)


def check_all(numbers: Collection[int] | None, found: Collection[int]) -> None:
    """
    Pass if every chosen line was found, or none was chosen.

    Raises:
        PayoutRunStateError: One was not.
    """
    if numbers is not None and (missing := set(numbers).difference(found)):
        msg = f"Line {min(missing)} is not there, or is past that."
        raise PayoutRunStateError(msg)


async def _returning(
    session: AsyncSession, run: PayoutRun, lines: Sequence[Line], *, clock: Clock
) -> list[Posting]:
    held = [line for line in lines if not line.is_captured]
    # Few: what was in a chain transaction that was given up before it was signed.
    in_flight = [line.payout_id for line in lines if line.is_captured]
    found = await session.exec(select(Payout).where(col(Payout.id).in_(in_flight)))
    postings = await return_postings(session, found.all(), clock=clock)
    if held:
        hold = await session.get_one(Hold, run.hold_id)
        posting = await release_posting(
            session,
            hold,
            run_id=run.id,
            payout_ids=[line.payout_id for line in held],
            amount_minor=sum(line.amount_minor for line in held),
            fee_minor=sum(line.fee_minor for line in held),
            at=clock.now(),
        )
        postings.append(posting)
    return postings


async def counts_of(session: AsyncSession, run_id: str) -> dict[str, int]:
    """Return how many lines are in each status."""
    found = await session.exec(
        select(Payout.status, func.count()).where(Payout.run_id == run_id).group_by(Payout.status)
    )
    return {str(status): int(count) for status, count in found}


async def content_hash(
    session: AsyncSession, run_id: str, numbers: Sequence[int] | None = None
) -> str:
    """Return the hash of what an approver of these lines approves; see ``domain.runs``."""
    query = (
        sa_select(
            col(Payout.id),
            col(Payout.asset),
            col(Payout.amount_minor),
            col(Payout.destination),
            col(Payout.line_number),
        )
        .where(col(Payout.run_id) == run_id)
        .order_by(col(Payout.line_number))
    )
    chosen = set(numbers) if numbers is not None else None

    def hashed(rows: Session) -> str:
        found = rows.execute(query, execution_options={"yield_per": PAGE_LINES})
        return lines_hash(
            LineContent(payout_id, asset, amount_minor, destination)
            for payout_id, asset, amount_minor, destination, number in found
            if chosen is None or number in chosen
        )

    return await session.run_sync(hashed)
