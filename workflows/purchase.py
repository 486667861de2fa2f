"""
One purchase: open, await the payment, credit; expire, refund, or take back what was taken back.

What it is told is only that it should look. What was paid is in the database: deposits are written
there by their own workflows, and card payments by asking the gateway. It ends when nothing more is
awaited; should a reorg, a dispute or a refund concern it later, it gets another run under its id.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from datetime import datetime, timedelta

    from temporalio.exceptions import ActivityError

    from activities.purchases import CardActivities, PurchaseActivities
    from domain.errors import PurchaseStateError
    from domain.purchases import (
        PaymentMethod,
        PurchaseAcceptance,
        PurchaseInput,
        PurchaseStanding,
        PurchaseStatus,
        PurchaseTask,
        RefundRequest,
    )
    from domain.workflow_ids import GATEWAYS_QUEUE, PURCHASE_WORKFLOW
    from workflows.options import database, patient, refusal

LEAST = timedelta(seconds=5)
"""What is tried until something else is due is tried for so long at least."""


@workflow.defn(name=PURCHASE_WORKFLOW)
class PurchaseWorkflow:
    """Moves no money by itself: each step is one unit of work on the database."""

    @workflow.init
    def __init__(self, request: PurchaseInput) -> None:
        """Handlers may run before ``run``: what starts the workflow always does."""
        self._purchase_id = request.purchase_id
        self._is_new = request.request is not None
        self._acceptance: PurchaseAcceptance | None = None
        self._moved = request.is_moved

    @workflow.run
    async def run(self, request: PurchaseInput) -> PurchaseStatus:
        """Take the purchase to where nothing more is awaited, and return where that is."""
        if request.request is not None:
            self._acceptance = await workflow.execute_local_activity_method(
                PurchaseActivities.open, request.request, **database("take the quote")
            )
            if self._acceptance.status == PurchaseStatus.REFUSED:
                await workflow.wait_condition(workflow.all_handlers_finished)
                return self._acceptance.status
        standing = await self._advance()
        while await self._goes_on(standing):
            standing = await self._advance()
        return standing.status

    @workflow.update
    async def accept(self) -> PurchaseAcceptance:
        """Answer the request: opened, or refused and why."""
        if not self._is_new:
            raise refusal(PurchaseStateError, "This request was made before.")
        await workflow.wait_condition(lambda: self._acceptance is not None)
        assert self._acceptance is not None
        return self._acceptance

    @workflow.update
    async def cancel(self) -> PurchaseStanding:
        """Give the purchase up, if nothing was paid for it."""
        standing = await workflow.execute_local_activity_method(
            PurchaseActivities.cancel, self._purchase_id, **database("give it up")
        )
        self._moved = True
        return standing

    @workflow.update
    async def refund(self, request: RefundRequest) -> PurchaseStanding:
        """Take back what a payment bought, and have the payment given back."""
        standing = await workflow.execute_local_activity_method(
            PurchaseActivities.request_refund, request, **database("an operator refunds")
        )
        self._moved = True
        return standing

    @workflow.signal
    def moved(self) -> None:
        """Learn that there may be something to book."""
        self._moved = True

    async def _goes_on(self, standing: PurchaseStanding) -> bool:
        """Do what is next, or wait for it; tell whether there is anything left."""
        if standing.task is not None:
            await self._ask_gateway(standing, standing.task)
            return True
        if standing.wake_at is None and not self._moved:
            # An update that is still being answered would be dropped with the run.
            await workflow.wait_condition(workflow.all_handlers_finished)
            if not self._moved:
                return False
        await self._await_move(standing.wake_at)
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(PurchaseInput(self._purchase_id, is_moved=self._moved))
        self._moved = False
        if standing.method == PaymentMethod.CARD:
            await workflow.execute_activity_method(
                CardActivities.sync,
                self._purchase_id,
                **patient("ask how the payment stands", queue=GATEWAYS_QUEUE),
            )
        return True

    async def _await_move(self, wake_at: datetime | None) -> None:
        if wake_at is None or self._moved:
            return
        try:
            await workflow.wait_condition(
                lambda: self._moved,
                timeout=max(wake_at - workflow.now(), timedelta(0)),
                timeout_summary="look again, or expire",
            )
        except TimeoutError:
            workflow.logger.debug("purchase %s looks again", self._purchase_id)

    async def _ask_gateway(self, standing: PurchaseStanding, task: PurchaseTask) -> None:
        match task:
            case PurchaseTask.CREATE_INTENT:
                await self._create_intent(standing)
            case PurchaseTask.CANCEL_INTENT:
                await workflow.execute_activity_method(
                    CardActivities.cancel_intent,
                    self._purchase_id,
                    **patient("give the card payment up", queue=GATEWAYS_QUEUE),
                )
            case PurchaseTask.REFUND:
                await workflow.execute_activity_method(
                    CardActivities.refund,
                    str(standing.refund_id),
                    **patient("give the payment back", queue=GATEWAYS_QUEUE),
                )

    async def _create_intent(self, standing: PurchaseStanding) -> None:
        assert standing.wake_at is not None
        left = max(standing.wake_at - workflow.now(), LEAST)
        options = patient("set the card payment up", queue=GATEWAYS_QUEUE, give_up_after=left)
        try:
            await workflow.execute_activity_method(
                CardActivities.create_intent, self._purchase_id, **options
            )
        except ActivityError:
            # Nobody can have paid what nobody was given: the purchase may expire meanwhile.
            workflow.logger.warning("no card payment could be set up for %s", self._purchase_id)

    async def _advance(self) -> PurchaseStanding:
        standing = await workflow.execute_local_activity_method(
            PurchaseActivities.advance,
            self._purchase_id,
            **database("book what was paid or taken back"),
        )
        workflow.set_current_details(f"**{standing.status}** · purchase {self._purchase_id}")
        return standing
