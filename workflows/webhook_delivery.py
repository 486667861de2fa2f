"""One per delivery: sends an event to an endpoint until it is taken, or for about a day."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from datetime import timedelta

    from activities.webhooks import WebhookActivities
    from domain.webhooks import DeliveryInput, DeliveryStanding
    from domain.workflow_ids import GATEWAYS_QUEUE, WEBHOOK_DELIVERY_WORKFLOW
    from workflows.options import patient


@workflow.defn(name=WEBHOOK_DELIVERY_WORKFLOW)
class WebhookDeliveryWorkflow:
    """When to try again is decided with each attempt, in the database."""

    @workflow.run
    async def run(self, request: DeliveryInput) -> DeliveryStanding:
        """Try, and wait as long as the attempt said, until it says nothing more."""
        while True:
            standing = await workflow.execute_activity_method(
                WebhookActivities.attempt,
                request.delivery_id,
                **patient("send the event", queue=GATEWAYS_QUEUE),
            )
            if standing.retry_after_s is None:
                workflow.set_current_details(f"{standing.status} after {standing.attempts}")
                return standing
            workflow.set_current_details(
                f"{standing.attempts} attempts failed; again in {standing.retry_after_s} s"
            )
            await workflow.sleep(
                timedelta(seconds=standing.retry_after_s), summary="before the next attempt"
            )
