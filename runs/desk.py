"""``domain.ports.RunDesk``: each step of a bulk payout is one unit of work on the database."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    ConflictError,
    IdempotencyKeyReusedError,
    PayoutRunNotFoundError,
    PayoutRunStateError,
    RequestError,
    StrongroomError,
    TransientError,
)
from domain.payouts import OPEN_STATUSES, DecisionKind, PayoutStatus
from domain.policy import ApprovalRequirement
from domain.ports import AddressScreener
from domain.runs import (
    RunAcceptance,
    RunCancellation,
    RunDecisionRequest,
    RunStanding,
    RunStart,
    RunStatus,
    numbers_in,
    parse_lines,
)
from events.outbox import publish
from infra.database import Database
from models.payouts import Payout
from models.runs import PayoutRun, RunCancellationRecord, RunDecision
from runs.approvals import (
    approved_among,
    check_allowed,
    decisions_on,
    may_be_enough,
    requirement_of,
)
from runs.moves import check_all, content_hash, counts_of, give_back, locked_pages, move_lines
from runs.news import run_event
from runs.screening import screen_lines
from runs.starting import freeze

RUN_KEY = "payout_run_idempotency"
"""The constraint that a key starts one run of a principal."""

AWAITING = (PayoutStatus.AWAITING_APPROVAL,)
CANCELLABLE = (PayoutStatus.AWAITING_APPROVAL, PayoutStatus.READY)


class PostgresRunDesk:
    """Starts, decides on, takes back and finishes bulk payouts."""

    def __init__(
        self, database: Database, clock: Clock, screener: AddressScreener | None = None
    ) -> None:
        """Take the database as the worker's role, and who screens beside our own list, if any."""
        self._database = database
        self._clock = clock
        self._screener = screener

    async def start(self, request: RunStart) -> RunAcceptance:
        """Hold the total and make every line a payout; or refuse, and leave the draft as it is."""
        await self._screen(request.run_id)
        try:
            async with self._database.transaction() as session:
                run = await locked_run(session, request.run_id)
                if run.status == RunStatus.DRAFT:
                    await freeze(session, run, request, clock=self._clock)
                return _acceptance(run)
        except IntegrityError as error:
            if RUN_KEY not in str(error.orig):
                raise
            # The key started another run of theirs, maybe at this very moment.
            return _refused(request, IdempotencyKeyReusedError())
        except (ConflictError, RequestError) as refusal:
            return _refused(request, refusal)

    async def _screen(self, run_id: str) -> None:
        if self._screener is None:
            return
        try:
            await screen_lines(self._database, self._screener, run_id)
        except TransientError as silence:
            await self._note(run_id, silence.code)
            raise
        await self._note(run_id, None)

    async def _note(self, run_id: str, code: str | None) -> None:
        """Write down what holds up a start, for ``explain``."""
        async with self._database.transaction() as session:
            await session.execute(
                update(PayoutRun)
                .where(
                    col(PayoutRun.id) == run_id,
                    col(PayoutRun.status) == RunStatus.DRAFT,
                    col(PayoutRun.waiting_for).is_distinct_from(code),
                )
                .values(waiting_for=code, waiting_since=self._clock.now() if code else None)
            )

    async def decide(self, decision: RunDecisionRequest) -> RunStanding:
        """Record a decision and move on the lines that are decided on by it; see ``approvals``."""
        numbers = _chosen(decision.lines)
        async with self._database.transaction() as session:
            run = await locked_run(session, decision.run_id)
            if run.status == RunStatus.DRAFT:
                msg = "The run was not started; there is nothing to decide."
                raise PayoutRunStateError(msg)
            made = await decisions_on(session, run.id)
            if not any(known.id == decision.decision_id for known in made):
                needed = await requirement_of(session, run)
                await check_allowed(
                    session,
                    run,
                    decision,
                    needed=needed,
                    made=made,
                    numbers=numbers,
                    clock=self._clock,
                )
                is_rejected = decision.kind == DecisionKind.REJECT
                covered = await _awaiting(session, run, numbers) if is_rejected else numbers
                made.append(await self._record(session, run, decision, covered))
                if is_rejected:
                    await give_back(
                        session,
                        run,
                        AWAITING,
                        PayoutStatus.REJECTED,
                        clock=self._clock,
                        numbers=numbers,
                        detail=decision.note,
                    )
                else:
                    await self._set_free(session, run, made, needed=needed, numbers=numbers)
            return await self._standing(session, run)

    async def _set_free(
        self,
        session: AsyncSession,
        run: PayoutRun,
        made: Sequence[RunDecision],
        *,
        needed: ApprovalRequirement,
        numbers: Sequence[int] | None,
    ) -> None:
        """Let those of these lines leave that enough people have approved by now."""
        if numbers is None and not may_be_enough(made, needed=needed, requester=run.user_id):
            return
        found: set[int] = set()
        async for lines in locked_pages(session, run.id, statuses=AWAITING, numbers=numbers):
            of_page = [line.number for line in lines]
            enough = approved_among(of_page, made, needed=needed, requester=run.user_id)
            approved = set(enough)
            ready = [line for line in lines if line.number in approved]
            await move_lines(session, ready, PayoutStatus.READY, clock=self._clock)
            found.update(of_page)
        check_all(numbers, found)

    async def _record(
        self,
        session: AsyncSession,
        run: PayoutRun,
        decision: RunDecisionRequest,
        numbers: Sequence[int] | None,
    ) -> RunDecision:
        row = RunDecision(
            id=decision.decision_id,
            run_id=run.id,
            approver_id=decision.approver_id,
            decision=decision.kind,
            line_numbers=list(numbers) if numbers is not None else None,
            content_hash=(
                str(run.content_hash)
                if numbers is None
                else await content_hash(session, run.id, numbers)
            ),
            policy_version=int(run.policy_version or 0),
            second_factor=decision.second_factor,
            note=decision.note,
            decided_at=self._clock.now(),
        )
        session.add(row)
        await session.flush()
        return row

    async def cancel(self, cancellation: RunCancellation) -> RunStanding:
        """Give back what no batch has taken, once; of chosen lines, all or none."""
        numbers = _chosen(cancellation.lines)
        async with self._database.transaction() as session:
            run = await locked_run(session, cancellation.run_id)
            known = await session.get(RunCancellationRecord, cancellation.action_id)
            if known is not None or (
                numbers is not None and await _are_cancelled(session, run, numbers)
            ):
                # What was made ready since then is not what was to be taken back.
                return await self._standing(session, run)
            if run.status != RunStatus.DRAFT:
                session.add(
                    RunCancellationRecord(
                        id=cancellation.action_id,
                        run_id=run.id,
                        lines=cancellation.lines,
                        cancelled_at=self._clock.now(),
                    )
                )
            await give_back(
                session,
                run,
                CANCELLABLE,
                PayoutStatus.CANCELLED,
                clock=self._clock,
                numbers=numbers,
            )
            return await self._standing(session, run)

    async def expire(self, run_id: str) -> RunStanding:
        """Give back the lines whose approvals are overdue, and say where the run stands."""
        async with self._database.transaction() as session:
            run = await locked_run(session, run_id)
            deadline = run.approval_expires_at
            if deadline is not None and self._clock.now() >= deadline:
                await give_back(session, run, AWAITING, PayoutStatus.EXPIRED, clock=self._clock)
            return await self._standing(session, run)

    async def advance(self, run_id: str) -> RunStanding:
        """Finish the run if every line has ended, and say where it stands."""
        async with self._database.transaction() as session:
            return await self._standing(session, await locked_run(session, run_id))

    async def _standing(self, session: AsyncSession, run: PayoutRun) -> RunStanding:
        """Count the lines, and let the run's own status follow from theirs."""
        await session.flush()
        counts = await counts_of(session, run.id)
        if run.status != RunStatus.DRAFT:
            status = _status_of(counts)
            if run.status != status:
                run.status, run.updated_at = status, self._clock.now()
                await publish(session, run_event(run))
            if status == RunStatus.FINISHED:
                run.finished_at = run.finished_at or self._clock.now()
        return RunStanding(run.id, RunStatus(run.status), counts)


async def locked_run(session: AsyncSession, run_id: str) -> PayoutRun:
    """
    Return the run, locked until the unit of work ends.

    Not its key, which never changes: who moves a line twice in one unit of work has its foreign key
    checked, maybe with the end of the hash chain locked, which whoever cancels the run waits for.

    Raises:
        PayoutRunNotFoundError: There is none.
    """
    run = await session.get(PayoutRun, run_id, with_for_update={"key_share": True})
    if run is None:
        raise PayoutRunNotFoundError
    return run


async def _are_cancelled(session: AsyncSession, run: PayoutRun, numbers: Sequence[int]) -> bool:
    pages = locked_pages(session, run.id, statuses=(PayoutStatus.CANCELLED,), numbers=numbers)
    return sum([len(lines) async for lines in pages]) == len(numbers)


async def _awaiting(
    session: AsyncSession, run: PayoutRun, numbers: Sequence[int] | None
) -> Sequence[int] | None:
    """
    Return the lines that a rejection means, None for every line of the run.

    Who rejects what is left says nothing about what others had approved: were that not written
    down, the signer would take it for a rejection of those lines too.
    """
    if numbers is not None:
        return numbers
    found = await session.exec(
        select(Payout.line_number)
        .where(Payout.run_id == run.id, col(Payout.status).in_(AWAITING))
        .order_by(col(Payout.line_number))
    )
    left = [int(number) for number in found if number is not None]
    return None if len(left) == run.line_count else left


def _chosen(lines: str | None) -> list[int] | None:
    return None if lines is None else list(numbers_in(parse_lines(lines)))


def _status_of(counts: dict[str, int]) -> RunStatus:
    if counts.get(PayoutStatus.AWAITING_APPROVAL):
        return RunStatus.AWAITING_APPROVAL
    return RunStatus.PAYING if any(counts.get(s) for s in OPEN_STATUSES) else RunStatus.FINISHED


def _refused(request: RunStart, refusal: StrongroomError) -> RunAcceptance:
    return RunAcceptance(
        request.run_id, RunStatus.DRAFT, reason_code=refusal.code, reason=refusal.detail
    )


def _acceptance(run: PayoutRun) -> RunAcceptance:
    return RunAcceptance(
        run.id,
        RunStatus(run.status),
        idempotency_key=run.idempotency_key,
        approvals_required=run.approvals_required,
        approval_expires_at=run.approval_expires_at,
    )
