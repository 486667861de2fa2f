"""One event of the payment gateway: find the purchase that it is about, and have it look."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.purchases import CardActivities
    from domain.purchases import StripeEventInput
    from domain.workflow_ids import GATEWAYS_QUEUE
    from workflows.options import patient


@workflow.defn(name="GatewayEventWorkflow")
class GatewayEventWorkflow:
    """One per event, however often it is delivered."""

    @workflow.run
    async def run(self, request: StripeEventInput) -> None:
        """Take the event to its purchase."""
        await workflow.execute_activity_method(
            CardActivities.handle_event,
            request.event_id,
            **patient("ask what the event is about", queue=GATEWAYS_QUEUE),
        )
