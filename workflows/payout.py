"""One payout: freeze, approve, wait for the chain, end. See ``workflows.held_payment``."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.payouts import PayoutActivities
    from domain.payouts import PayoutOutcome, PayoutRequest
    from workflows.options import database

from workflows.held_payment import HeldPayment


@workflow.defn(name="PayoutWorkflow")
class PayoutWorkflow(HeldPayment):
    """Runs from the request to settled, released or refunded."""

    @workflow.init
    def __init__(self, request: PayoutRequest) -> None:
        """Handlers may run before ``run``: the update that starts the workflow always does."""
        super().__init__(request.payout_id, request.user_id)

    @workflow.run
    async def run(self, request: PayoutRequest) -> PayoutOutcome:
        """Take the payout to its end and return how it ended."""
        await self._accepted(
            await workflow.execute_local_activity_method(
                PayoutActivities.freeze, request, **database("freeze amount and fee")
            )
        )
        while not self._is_final():
            await self._await_end()
        return await self._answer()
