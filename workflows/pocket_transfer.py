"""
One transfer to or from a user's own pocket: freeze, approve, settle.

What goes to a pocket shares batches with payouts. What leaves one has a chain transaction to
itself, which is planned here: where its gas must be lent first, that is waited for.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from datetime import timedelta

    from activities.payouts import PayoutActivities
    from activities.pockets import PocketActivities, PocketSpendActivities
    from domain.payouts import PayoutOutcome, PayoutStatus
    from domain.pockets import PocketStanding, PocketTransferRequest, Route
    from domain.workflow_ids import POCKET_TRANSFER_WORKFLOW, chain_queue
    from workflows.batches import start_batch
    from workflows.options import database, patient

from workflows.held_payment import HeldPayment


@workflow.defn(name=POCKET_TRANSFER_WORKFLOW)
class PocketTransferWorkflow(HeldPayment):
    """Runs from the request to settled, released or refunded."""

    @workflow.init
    def __init__(self, request: PocketTransferRequest) -> None:
        """Handlers may run before ``run``: the update that starts the workflow always does."""
        super().__init__(request.payout_id, request.user_id)
        self._chain_id = request.chain_id

    @workflow.run
    async def run(self, request: PocketTransferRequest) -> PayoutOutcome:
        """Take the transfer to its end and return how it ended."""
        # Asked again after a new history has begun, the database says where it stands.
        await self._accepted(
            await workflow.execute_local_activity_method(
                PocketActivities.freeze, request, **database("freeze the amount")
            )
        )
        if request.route == Route.FUND and not self._is_final():
            await self._make_ready()
        while not self._is_final():
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(request)
            await (self._await_end() if request.route == Route.FUND else self._spend())
        return await self._answer()

    async def _make_ready(self) -> None:
        await workflow.execute_local_activity_method(
            PocketActivities.make_ready,
            self._payout_id,
            **database("make the pocket if there is none"),
        )

    async def _spend(self) -> None:
        """Have the payment planned and driven, and wait until something of it changes."""
        standing = await workflow.execute_activity_method(
            PocketSpendActivities.advance,
            self._payout_id,
            **patient("plan the payment, or its gas", queue=chain_queue(self._chain_id)),
        )
        for batch_id in standing.batches:
            # Asked for again while it is on its way, it is driven already.
            await start_batch(batch_id, self._chain_id)
        if standing.status.is_final:
            await self._look_again()
        elif not self._is_final():
            await self._await_change(standing)

    async def _await_change(self, standing: PocketStanding) -> None:
        self._move(standing.status)
        try:
            await workflow.wait_condition(
                lambda: self._status != standing.status,
                timeout=timedelta(seconds=standing.look_again_s),
                timeout_summary=_why(standing),
            )
        except TimeoutError:
            workflow.logger.debug("transfer %s is looked at again", self._payout_id)

    async def _look_again(self) -> None:
        self._ended(
            await workflow.execute_local_activity_method(
                PayoutActivities.outcome,
                self._payout_id,
                **database("look again at the database"),
            )
        )


def _why(standing: PocketStanding) -> str:
    if standing.status == PayoutStatus.BATCHED:
        return "look again at the database"
    return "look again whether the pocket can pay"
