"""
Bulk payouts in memory, for tests of workflows.

Lines are the ``FakePayout`` of single payouts, so the fakes of the chain side take them along.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import override

from domain.errors import (
    AlreadyDecidedError,
    ApprovalExpiredError,
    HoldStateError,
    InsufficientAvailableBalanceError,
    OwnRequestError,
    PayoutRunNotFoundError,
    PayoutRunStateError,
    RoleMissingError,
)
from domain.ids import PAYOUT, PAYOUT_RUN, derived_id, new_id
from domain.payouts import OPEN_STATUSES, DecisionKind, PayoutRequest, PayoutStatus
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
from tests.support.fakes import Books, FakePayout, FakeRun

FIRST_LINE = 2
"""The header is line 1."""

REQUESTER = "usr_requester"
STRANGER = "usr_stranger"
"""The one who is no approver."""

AWAITING = (PayoutStatus.AWAITING_APPROVAL,)
CANCELLABLE = (PayoutStatus.AWAITING_APPROVAL, PayoutStatus.READY)


def upload(books: Books, *amounts_minor: int) -> FakeRun:
    """Store a draft that pays these amounts."""
    run = FakeRun(new_id(PAYOUT_RUN), dict(enumerate(amounts_minor, FIRST_LINE)))
    books.runs[run.id] = run
    return run


class FakeRunDesk:
    """``domain.ports.RunDesk``."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def start(self, request: RunStart) -> RunAcceptance:
        self._books.run_steps.append("start")
        run = self._books.runs.get(request.run_id)
        if run is None:
            return _refusal(request, PayoutRunNotFoundError())
        if run.status == RunStatus.DRAFT:
            if sum(run.amounts_minor.values()) > self._books.available_minor:
                return _refusal(request, InsufficientAvailableBalanceError())
            self._hold(run, request)
        return RunAcceptance(
            run.id,
            run.status,
            idempotency_key=run.idempotency_key,
            approvals_required=run.required,
            approval_expires_at=run.expires_at,
        )

    def _hold(self, run: FakeRun, request: RunStart) -> None:
        books = self._books
        books.available_minor -= sum(run.amounts_minor.values())
        books.holds_placed += 1
        run.idempotency_key, run.required = request.idempotency_key, books.approvals_required
        run.status = RunStatus.AWAITING_APPROVAL if run.required else RunStatus.PAYING
        if run.required:
            run.expires_at = books.clock.now() + books.approval_lifetime
        for number, amount_minor in run.amounts_minor.items():
            line = _line_of(run, number, amount_minor)
            run.lines[number] = books.payouts[line.request.payout_id] = line

    async def decide(self, decision: RunDecisionRequest) -> RunStanding:
        self._books.run_steps.append("decide")
        numbers = _chosen(decision.lines)
        run = self._run(decision.run_id)
        if decision.decision_id not in run.decisions:
            self._check_allowed(run, decision, numbers)
            lines = _all_in(run, AWAITING, numbers)
            run.decisions[decision.decision_id] = decision
            for number, line in lines.items():
                if decision.kind == DecisionKind.REJECT:
                    self._books.release(line, PayoutStatus.REJECTED)
                elif len(_approvers_of(run, number)) >= run.required:
                    line.status = PayoutStatus.READY
        return _standing(run)

    def _check_allowed(
        self, run: FakeRun, decision: RunDecisionRequest, numbers: Collection[int] | None
    ) -> None:
        if decision.approver_id == REQUESTER:
            raise OwnRequestError
        if decision.approver_id == STRANGER:
            raise RoleMissingError
        if run.status != RunStatus.AWAITING_APPROVAL:
            raise PayoutRunStateError
        if run.expires_at is not None and self._books.clock.now() >= run.expires_at:
            raise ApprovalExpiredError
        for made in run.decisions.values():
            before = _chosen(made.lines)
            is_same = before is None or not set(before).isdisjoint(numbers or ())
            if made.approver_id == decision.approver_id and is_same:
                raise AlreadyDecidedError

    async def cancel(self, cancellation: RunCancellation) -> RunStanding:
        self._books.run_steps.append("cancel")
        numbers = _chosen(cancellation.lines)
        run = self._run(cancellation.run_id)
        if cancellation.action_id in run.cancellations:
            return _standing(run)
        cancelled = _lines_in(run, (PayoutStatus.CANCELLED,), numbers)
        if numbers is None or len(cancelled) < len(numbers):
            for line in _all_in(run, CANCELLABLE, numbers).values():
                self._books.release(line, PayoutStatus.CANCELLED)
            run.cancellations.add(cancellation.action_id)
        return _standing(run)

    async def expire(self, run_id: str) -> RunStanding:
        self._books.run_steps.append("expire")
        run = self._run(run_id)
        if run.expires_at is not None and self._books.clock.now() >= run.expires_at:
            for line in _lines_in(run, AWAITING, None).values():
                self._books.release(line, PayoutStatus.EXPIRED)
        return _standing(run)

    async def advance(self, run_id: str) -> RunStanding:
        self._books.run_steps.append("advance")
        return _standing(self._run(run_id))

    def _run(self, run_id: str) -> FakeRun:
        if run_id not in self._books.runs:
            raise PayoutRunNotFoundError
        return self._books.runs[run_id]


class SlowDesk(FakeRunDesk):
    """Says only later that it holds the money."""

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        self.begun, self.may_answer = asyncio.Event(), asyncio.Event()

    @override
    async def start(self, request: RunStart) -> RunAcceptance:
        acceptance = await super().start(request)
        self.begun.set()
        await self.may_answer.wait()
        return acceptance


class CrossingDesk(FakeRunDesk):
    """Counts the lines at once, and gives the first count away only later."""

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        self.counted, self.may_answer = asyncio.Event(), asyncio.Event()

    @override
    async def advance(self, run_id: str) -> RunStanding:
        standing = await super().advance(run_id)
        self.counted.set()
        await self.may_answer.wait()
        return standing


class FailingDesk(FakeRunDesk):
    """Refuses each of the steps that nobody asked for, once."""

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        self.refusals = {"expire": 1, "advance": 1}

    @override
    async def advance(self, run_id: str) -> RunStanding:
        self._refuse("advance")
        return await super().advance(run_id)

    @override
    async def expire(self, run_id: str) -> RunStanding:
        self._refuse("expire")
        return await super().expire(run_id)

    def _refuse(self, step: str) -> None:
        if self.refusals[step]:
            self.refusals[step] -= 1
            raise HoldStateError


def _line_of(run: FakeRun, number: int, amount_minor: int) -> FakePayout:
    request = PayoutRequest(
        payout_id=derived_id(PAYOUT, run.id, str(number)),
        user_id=REQUESTER,
        principal=REQUESTER,
        idempotency_key=f"{run.id}/{number}",
        request_hash="hash of the upload",
        asset="ETH",
        amount=str(amount_minor),
        destination=f"0x{number:040x}",
    )
    status = PayoutStatus.AWAITING_APPROVAL if run.required else PayoutStatus.READY
    return FakePayout(request, status, run.required, run.expires_at, run_id=run.id)


def _refusal(
    request: RunStart, error: PayoutRunNotFoundError | InsufficientAvailableBalanceError
) -> RunAcceptance:
    return RunAcceptance(
        request.run_id, RunStatus.DRAFT, reason_code=error.code, reason=error.detail
    )


def _chosen(lines: str | None) -> list[int] | None:
    return None if lines is None else list(numbers_in(parse_lines(lines)))


def _lines_in(
    run: FakeRun, statuses: Collection[PayoutStatus], numbers: Collection[int] | None
) -> dict[int, FakePayout]:
    return {
        number: line
        for number, line in run.lines.items()
        if line.status in statuses and (numbers is None or number in numbers)
    }


def _all_in(
    run: FakeRun, statuses: Collection[PayoutStatus], numbers: Sequence[int] | None
) -> dict[int, FakePayout]:
    lines = _lines_in(run, statuses, numbers)
    if numbers is not None and len(lines) < len(numbers):
        raise PayoutRunStateError
    return lines


def _approvers_of(run: FakeRun, number: int) -> set[str]:
    approvals = [d for d in run.decisions.values() if d.kind == DecisionKind.APPROVE]
    return {
        d.approver_id for d in approvals if d.lines is None or number in (_chosen(d.lines) or ())
    }


def _standing(run: FakeRun) -> RunStanding:
    statuses = [line.status for line in run.lines.values()]
    if PayoutStatus.AWAITING_APPROVAL in statuses:
        run.status = RunStatus.AWAITING_APPROVAL
    elif any(status in OPEN_STATUSES for status in statuses):
        run.status = RunStatus.PAYING
    elif statuses:
        run.status = RunStatus.FINISHED
    return RunStanding(run.id, run.status, {str(s): statuses.count(s) for s in statuses})
