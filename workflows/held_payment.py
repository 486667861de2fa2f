"""
What every payment that is held before it leaves has in common: its messages, and how it waits.

The workflow holds no money and decides nothing about it: each step is one unit of work on the
database, and what is shown to people is read from there. It knows what is waited for, and repeats
after a crash.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from datetime import timedelta

    from activities.payouts import PayoutActivities
    from domain.errors import OwnRequestError, PayoutStateError
    from domain.payouts import (
        Acceptance,
        Decision,
        DecisionOutcome,
        OperatorAction,
        PayoutOutcome,
        PayoutStatus,
    )
    from workflows.options import database, refusal

RECHECK = timedelta(hours=1)
"""A payout on its way looks at the database this often, should a signal ever be lost."""


class HeldPayment:
    """The part of a payout's workflow that does not depend on where the money goes."""

    def __init__(self, payout_id: str, user_id: str) -> None:
        """Handlers may run before ``run``: the update that starts the workflow always does."""
        self._payout_id = payout_id
        self._user_id = user_id
        self._acceptance: Acceptance | None = None
        self._status: PayoutStatus | None = None
        self._outcome: PayoutOutcome | None = None

    @workflow.update
    async def accept(self) -> Acceptance:
        """Answer the request: held, or refused and why."""
        await workflow.wait_condition(lambda: self._acceptance is not None)
        assert self._acceptance is not None
        return self._acceptance

    @workflow.update
    async def decide(self, decision: Decision) -> DecisionOutcome:
        """Take an approver's decision; the database has the last word on whether it counts."""
        outcome = await workflow.execute_local_activity_method(
            PayoutActivities.decide, decision, **database(f"{decision.kind} by an approver")
        )
        self._move(outcome.status)
        return outcome

    @decide.validator
    def _check_decision(self, decision: Decision) -> None:
        if decision.approver_id == self._user_id:
            raise refusal(OwnRequestError, "Nobody decides on a payout that they asked for.")
        self._check_open()

    @workflow.update
    async def cancel(self) -> PayoutOutcome:
        """Take the payout back, if no batch has it yet."""
        return self._ended(
            await workflow.execute_local_activity_method(
                PayoutActivities.cancel,
                self._payout_id,
                **database("release the hold"),
            )
        )

    @cancel.validator
    def _check_cancel(self) -> None:
        self._check_open()

    @workflow.update
    async def refund(self, action: OperatorAction) -> PayoutOutcome:
        """Refund a payout that is stuck before it was signed."""
        return self._ended(
            await workflow.execute_local_activity_method(
                PayoutActivities.refund_unsigned, action, **database("operator refunds")
            )
        )

    @refund.validator
    def _check_refund(self, action: OperatorAction) -> None:
        del action
        self._check_open()

    @workflow.update
    async def retry(self, action: OperatorAction) -> PayoutOutcome:
        """Put a payout whose chain transaction was given up into another batch."""
        return self._ended(
            await workflow.execute_local_activity_method(
                PayoutActivities.retry_abandoned, action, **database("operator retries")
            )
        )

    @retry.validator
    def _check_retry(self, action: OperatorAction) -> None:
        del action
        self._check_open()

    @workflow.signal
    def finished(self, outcome: PayoutOutcome) -> None:
        """Learn from the chain side how the payout ended; a repeat changes nothing."""
        self._ended(outcome)

    @workflow.query
    def status(self) -> PayoutStatus | None:
        """Return the standing as this workflow knows it; the API reads the database instead."""
        return self._status

    async def _accepted(self, acceptance: Acceptance) -> None:
        """Remember that it is held, or not, and wait for approvals where some are needed."""
        self._acceptance = acceptance
        self._move(acceptance.status)
        if self._status == PayoutStatus.AWAITING_APPROVAL:
            await self._await_approval(acceptance)

    async def _answer(self) -> PayoutOutcome:
        """Return how it ended, once nobody waits for an answer any more."""
        # An update that is still being answered would be dropped with the run.
        await workflow.wait_condition(workflow.all_handlers_finished)
        assert self._acceptance is not None
        return self._outcome or PayoutOutcome(
            self._payout_id, self._final_status(), self._acceptance.reason_code
        )

    async def _await_approval(self, acceptance: Acceptance) -> None:
        assert acceptance.approval_expires_at is not None
        left = acceptance.approval_expires_at - workflow.now()
        try:
            await workflow.wait_condition(
                lambda: self._status != PayoutStatus.AWAITING_APPROVAL,
                timeout=max(left, timedelta(0)),
                timeout_summary="approvals must arrive before this",
            )
        except TimeoutError:
            self._ended(
                await workflow.execute_local_activity_method(
                    PayoutActivities.expire,
                    acceptance.payout_id,
                    **database("approvals are overdue"),
                )
            )

    async def _await_end(self) -> None:
        try:
            await workflow.wait_condition(
                self._is_final, timeout=RECHECK, timeout_summary="look again at the database"
            )
        except TimeoutError:
            self._ended(
                await workflow.execute_local_activity_method(
                    PayoutActivities.outcome,
                    self._payout_id,
                    **database("look again at the database"),
                )
            )

    def _ended(self, outcome: PayoutOutcome) -> PayoutOutcome:
        # A late answer must not undo an end that is known already.
        if not self._is_final():
            self._outcome = outcome
            self._move(outcome.status)
        return outcome

    def _move(self, status: PayoutStatus) -> None:
        self._status = status
        workflow.set_current_details(f"**{status}** · payout {self._payout_id}")

    def _is_final(self) -> bool:
        return self._status is not None and self._status.is_final

    def _final_status(self) -> PayoutStatus:
        assert self._status is not None
        return self._status

    def _check_open(self) -> None:
        if self._status is None or self._is_final():
            raise refusal(PayoutStateError, f"The payout is {self._status or 'not held yet'}.")
