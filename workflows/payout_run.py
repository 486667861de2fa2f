"""
One bulk payout, from the hold over all of its lines to the end of the last one.

The lines are payouts in the database, taken into batches like any other. This workflow is told when
some of them ended, once for each batch: its history does not grow with the lines.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta
    from typing import Any

    from activities.runs import RunActivities
    from domain.errors import PayoutRunStateError
    from domain.payouts import OperatorAction, PayoutOutcome
    from domain.runs import (
        RunAcceptance,
        RunCancellation,
        RunDecisionRequest,
        RunStanding,
        RunStart,
        RunStatus,
    )
    from workflows.options import many_rows, refusal

RECHECK = timedelta(hours=1)
"""A run on its way looks at the database this often, should a signal ever be lost."""

OVERDUE_RETRY = timedelta(minutes=1)
"""How soon expiry is asked for again when by the database's clock it was not yet due."""


@workflow.defn(name="PayoutRunWorkflow")
class PayoutRunWorkflow:
    """Runs from the start of a checked upload to the end of its last line."""

    @workflow.init
    def __init__(self, request: RunStart) -> None:
        """Handlers may run before ``run``: the update that starts the workflow always does."""
        self._run_id = request.run_id
        self._acceptance: RunAcceptance | None = None
        self._standing: RunStanding | None = None
        self._overdue_at: datetime | None = None
        self._moved = False

    @workflow.run
    async def run(self, request: RunStart) -> RunStanding:
        """Take the run to its end and return how its lines ended."""
        # Asked again after a new history has begun, the database says what it said at first.
        acceptance = await workflow.execute_activity_method(
            RunActivities.start, request, **many_rows("check again, hold the total")
        )
        self._acceptance, self._overdue_at = acceptance, acceptance.approval_expires_at
        if acceptance.status == RunStatus.DRAFT:
            self._show(RunStatus.DRAFT, acceptance.reason_code or "refused")
            await workflow.wait_condition(workflow.all_handlers_finished)
            return RunStanding(request.run_id, RunStatus.DRAFT)
        standing = await self._advance()
        while standing.status != RunStatus.FINISHED:
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(request)
            standing = await self._await_move(standing)
        # An update that is still being answered would be dropped with the run.
        await workflow.wait_condition(workflow.all_handlers_finished)
        return standing

    @workflow.update
    async def accept(self) -> RunAcceptance:
        """Answer the request: held, or refused and why."""
        await workflow.wait_condition(lambda: self._acceptance is not None)
        assert self._acceptance is not None
        return self._acceptance

    @workflow.update
    async def decide(self, decision: RunDecisionRequest) -> RunStanding:
        """Take an approver's decision; the database has the last word on whether it counts."""
        await self._await_hold()
        return await self._ask(RunActivities.decide, decision, f"{decision.kind} by an approver")

    @decide.validator
    def _check_decision(self, decision: RunDecisionRequest) -> None:
        del decision
        self._check_open()

    @workflow.update
    async def cancel(self, cancellation: RunCancellation) -> RunStanding:
        """Take back what no batch has yet."""
        await self._await_hold()
        return await self._ask(RunActivities.cancel, cancellation, "release what is not batched")

    @cancel.validator
    def _check_cancel(self, cancellation: RunCancellation) -> None:
        del cancellation
        self._check_open()

    @workflow.update
    async def refund_line(self, action: OperatorAction) -> PayoutOutcome:
        """Refund a line that is stuck before it was signed."""
        outcome = await workflow.execute_activity_method(
            RunActivities.refund_line, action, **many_rows("operator refunds a line")
        )
        self._moved = True
        return outcome

    @workflow.update
    async def retry_line(self, action: OperatorAction) -> PayoutOutcome:
        """Put a line whose chain transaction was given up into another batch."""
        outcome = await workflow.execute_activity_method(
            RunActivities.retry_line, action, **many_rows("operator retries a line")
        )
        self._moved = True
        return outcome

    @workflow.signal
    def moved(self) -> None:
        """Learn that lines of this run ended."""
        self._moved = True

    @workflow.query
    def standing(self) -> RunStanding | None:
        """Return the standing as this workflow knows it; the API reads the database instead."""
        return self._standing

    async def _await_move(self, standing: RunStanding) -> RunStanding:
        """
        Wait until something ended, until approvals are overdue, or until a new history is due.

        Returns where the run stands.
        """
        left = self._until_overdue(standing)
        is_last_hour = left is not None and left <= RECHECK
        try:
            await workflow.wait_condition(
                # Requests that are refused move nothing, and yet the history grows by them.
                lambda: (
                    self._moved
                    or self._standing is not standing
                    or workflow.info().is_continue_as_new_suggested()
                ),
                timeout=left if is_last_hour else RECHECK,
                timeout_summary=(
                    "approvals must arrive before this"
                    if is_last_hour
                    else "look again at the database"
                ),
            )
        except TimeoutError:
            return await (self._expire() if is_last_hour else self._advance())
        if self._moved:
            return await self._advance()
        assert self._standing is not None
        return self._standing

    def _until_overdue(self, standing: RunStanding) -> timedelta | None:
        """Return how long approvals may still arrive; None where nobody is asked."""
        if standing.status != RunStatus.AWAITING_APPROVAL or self._overdue_at is None:
            return None
        return max(self._overdue_at - workflow.now(), timedelta(0))

    async def _expire(self) -> RunStanding:
        # The database's clock decides. If it is behind ours, asking at once would ask in a circle.
        self._overdue_at = workflow.now() + OVERDUE_RETRY
        return await self._ask(RunActivities.expire, self._run_id, "approvals are overdue")

    async def _advance(self) -> RunStanding:
        self._moved = False
        return await self._ask(RunActivities.advance, self._run_id, "count the lines that ended")

    async def _ask(
        self, step: Callable[[RunActivities, Any], Awaitable[RunStanding]], about: Any, summary: str
    ) -> RunStanding:
        """Take a step of the desk and remember where the run stands after it."""
        before = self._standing
        standing = await workflow.execute_activity_method(step, about, **many_rows(summary))
        if self._standing is not before:
            # Another answer came meanwhile, and only the database knows which one is the later.
            self._moved = True
        self._standing = standing
        counts = (f"{count} {status}" for status, count in sorted(standing.lines.items()))
        self._show(standing.status, ", ".join(counts))
        return standing

    def _show(self, status: RunStatus, what: str) -> None:
        workflow.set_current_details(f"**{status}** · run {self._run_id}: {what}")

    async def _await_hold(self) -> None:
        """
        Let a handler wait while the start is not answered yet.

        In a new history the run is held long since, and what comes first must not be refused.
        """
        await workflow.wait_condition(lambda: self._acceptance is not None)
        self._check_open()

    def _check_open(self) -> None:
        if self._acceptance is not None and self._acceptance.status == RunStatus.DRAFT:
            raise refusal(PayoutRunStateError, "The run is not held.")
        if self._standing is not None and self._standing.status == RunStatus.FINISHED:
            raise refusal(PayoutRunStateError, "Every line of the run has ended.")
