"""
One bulk payout, from the hold over all of its lines to the end of the last one.

The lines are payouts in the database, taken into batches like any other. This workflow is told when
some of them ended, once for each batch: its history does not grow with the lines.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from datetime import timedelta

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


@workflow.defn(name="PayoutRunWorkflow")
class PayoutRunWorkflow:
    """Runs from the start of a checked upload to the end of its last line."""

    @workflow.init
    def __init__(self, request: RunStart) -> None:
        """Handlers may run before ``run``: the update that starts the workflow always does."""
        self._run_id = request.run_id
        self._acceptance: RunAcceptance | None = None
        self._standing: RunStanding | None = None
        self._moved = False

    @workflow.run
    async def run(self, request: RunStart) -> RunStanding:
        """Take the run to its end and return how its lines ended."""
        # Asked again after a new history has begun, the database says what it said at first.
        self._acceptance = await workflow.execute_activity_method(
            RunActivities.start, request, **many_rows("check again, hold the total")
        )
        if self._acceptance.status == RunStatus.DRAFT:
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
        return self._seen(
            await workflow.execute_activity_method(
                RunActivities.decide, decision, **many_rows(f"{decision.kind} by an approver")
            )
        )

    @decide.validator
    def _check_decision(self, decision: RunDecisionRequest) -> None:
        del decision
        self._check_open()

    @workflow.update
    async def cancel(self, cancellation: RunCancellation) -> RunStanding:
        """Take back what no batch has yet."""
        return self._seen(
            await workflow.execute_activity_method(
                RunActivities.cancel, cancellation, **many_rows("release what is not batched")
            )
        )

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
        return await workflow.execute_activity_method(
            RunActivities.retry_line, action, **many_rows("operator retries a line")
        )

    @workflow.signal
    def moved(self) -> None:
        """Learn that lines of this run ended."""
        self._moved = True

    @workflow.query
    def standing(self) -> RunStanding | None:
        """Return the standing as this workflow knows it; the API reads the database instead."""
        return self._standing

    async def _await_move(self, standing: RunStanding) -> RunStanding:
        """Wait until something ended, or until approvals are overdue; say where the run stands."""
        deadline = self._deadline(standing)
        try:
            await workflow.wait_condition(
                lambda: self._moved or self._standing is not standing,
                timeout=min(deadline, RECHECK),
                timeout_summary="approvals are due, or look again at the database",
            )
        except TimeoutError:
            if deadline <= RECHECK:
                return self._seen(
                    await workflow.execute_activity_method(
                        RunActivities.expire, self._run_id, **many_rows("approvals are overdue")
                    )
                )
            return await self._advance()
        if self._moved:
            return await self._advance()
        assert self._standing is not None
        return self._standing

    def _deadline(self, standing: RunStanding) -> timedelta:
        assert self._acceptance is not None
        expires_at = self._acceptance.approval_expires_at
        if standing.status != RunStatus.AWAITING_APPROVAL or expires_at is None:
            return timedelta.max
        # The database's clock decides; a moment later than ours is soon enough.
        return max(expires_at - workflow.now(), timedelta(0)) + timedelta(seconds=1)

    async def _advance(self) -> RunStanding:
        self._moved = False
        return self._seen(
            await workflow.execute_activity_method(
                RunActivities.advance, self._run_id, **many_rows("count the lines that ended")
            )
        )

    def _seen(self, standing: RunStanding) -> RunStanding:
        self._standing = standing
        counts = ", ".join(f"{count} {status}" for status, count in standing.lines.items())
        workflow.set_current_details(f"**{standing.status}** · run {self._run_id}: {counts}")
        return standing

    def _check_open(self) -> None:
        if self._acceptance is None or self._acceptance.status == RunStatus.DRAFT:
            raise refusal(PayoutRunStateError, "The run is not held yet.")
        if self._standing is not None and self._standing.status == RunStatus.FINISHED:
            raise refusal(PayoutRunStateError, "Every line of the run has ended.")
