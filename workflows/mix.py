"""
One mix: open, await the deposit, let its parts leave one by one; or give it back.

What it is told is only that it should look. What came, what was drawn and what has left is in the
database; the workflow knows when the next part is due, and waits for that with a durable timer. It
ends when nothing more is awaited; should a deposit come later, it gets another run under its id.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from datetime import datetime, timedelta

    from activities.mixing import MixActivities
    from activities.payouts import PayoutActivities
    from domain.errors import MixStateError
    from domain.mixing.messages import (
        MixAcceptance,
        MixAction,
        MixInput,
        MixStanding,
        MixStatus,
    )
    from domain.payouts import OperatorAction, PayoutOutcome
    from domain.workflow_ids import MIX_WORKFLOW
    from workflows.options import database, refusal


@workflow.defn(name=MIX_WORKFLOW)
class MixWorkflow:
    """
    Moves no money by itself: each step is one unit of work on the database.

    A step that is refused may have been done before, by a try whose worker died before it could
    tell: then too there may be something to do.
    """

    @workflow.init
    def __init__(self, request: MixInput) -> None:
        """Handlers may run before ``run``: what starts the workflow always does."""
        self._mix_id = request.mix_id
        self._is_new = request.request is not None
        self._acceptance: MixAcceptance | None = None
        self._moved = request.is_moved

    @workflow.run
    async def run(self, request: MixInput) -> MixStatus:
        """Take the mix to where nothing more is awaited, and return where that is."""
        if request.request is not None:
            self._acceptance = await workflow.execute_local_activity_method(
                MixActivities.open, request.request, **database("open the mix")
            )
            if self._acceptance.status == MixStatus.REFUSED:
                await workflow.wait_condition(workflow.all_handlers_finished)
                return self._acceptance.status
        standing = await self._advance()
        while await self._goes_on(standing):
            standing = await self._advance()
        return standing.status

    @workflow.update
    async def accept(self) -> MixAcceptance:
        """Answer the request: opened, or refused and why."""
        if not self._is_new:
            raise refusal(MixStateError, "This request was made before.")
        await workflow.wait_condition(lambda: self._acceptance is not None)
        assert self._acceptance is not None
        return self._acceptance

    @workflow.update
    async def cancel(self) -> MixStanding:
        """Give the mix up, before its first part leaves."""
        try:
            return await workflow.execute_local_activity_method(
                MixActivities.cancel, self._mix_id, **database("give it back")
            )
        finally:
            self._moved = True

    @workflow.update
    async def pause(self) -> MixStanding:
        """Let nothing leave until it is resumed."""
        try:
            return await workflow.execute_local_activity_method(
                MixActivities.pause, self._mix_id, **database("its user pauses it")
            )
        finally:
            self._moved = True

    @workflow.update
    async def resume(self) -> MixStanding:
        """Go on; what became due meanwhile is drawn anew."""
        try:
            return await workflow.execute_local_activity_method(
                MixActivities.resume, self._mix_id, **database("its user resumes it")
            )
        finally:
            self._moved = True

    @workflow.update
    async def hold(self, action: MixAction) -> MixStanding:
        """Let nothing leave, or be given back, until an operator lifts it."""
        try:
            return await workflow.execute_local_activity_method(
                MixActivities.hold, action, **database("an operator holds it")
            )
        finally:
            self._moved = True

    @workflow.update
    async def release_hold(self, action: MixAction) -> MixStanding:
        """Let a held mix go on."""
        try:
            return await workflow.execute_local_activity_method(
                MixActivities.release_hold, action, **database("an operator lets it go on")
            )
        finally:
            self._moved = True

    @workflow.update
    async def refund_dole(self, action: OperatorAction) -> PayoutOutcome:
        """Give a part that is stuck before it was signed to its user's balance."""
        try:
            return await workflow.execute_local_activity_method(
                PayoutActivities.refund_unsigned, action, **database("operator refunds a part")
            )
        finally:
            self._moved = True

    @workflow.update
    async def retry_dole(self, action: OperatorAction) -> PayoutOutcome:
        """Put a part whose chain transaction was given up into another batch."""
        try:
            return await workflow.execute_local_activity_method(
                PayoutActivities.retry_abandoned, action, **database("operator retries a part")
            )
        finally:
            self._moved = True

    @workflow.signal
    def moved(self) -> None:
        """Learn that there may be something to do."""
        self._moved = True

    async def _goes_on(self, standing: MixStanding) -> bool:
        """Wait for what is next; tell whether there is anything left."""
        if standing.wake_at is None and not self._moved:
            # An update that is still being answered would be dropped with the run.
            await workflow.wait_condition(workflow.all_handlers_finished)
            if not self._moved:
                return False
        await self._await_move(standing.wake_at)
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(MixInput(self._mix_id, is_moved=self._moved))
        self._moved = False
        return True

    async def _await_move(self, wake_at: datetime | None) -> None:
        if wake_at is None or self._moved:
            return
        try:
            await workflow.wait_condition(
                lambda: self._moved,
                timeout=max(wake_at - workflow.now(), timedelta(0)),
                timeout_summary="the next part is due, or look again",
            )
        except TimeoutError:
            workflow.logger.debug("mix %s looks again", self._mix_id)

    async def _advance(self) -> MixStanding:
        standing = await workflow.execute_local_activity_method(
            MixActivities.advance,
            self._mix_id,
            **database("take what came, release what is due"),
        )
        workflow.set_current_details(f"**{standing.status}** · mix {self._mix_id}")
        return standing
