"""The one that makes deliveries of events, for as long as there are any."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.webhooks import WebhookActivities
    from domain.workflow_ids import GATEWAYS_QUEUE
    from workflows.options import watching

ROUNDS_PER_RUN = 100


@workflow.defn(name="WebhookDispatcherWorkflow")
class WebhookDispatcherWorkflow:
    """Keeps one heartbeating activity running, and its own history short."""

    @workflow.run
    async def run(self) -> None:
        """Run rounds of dispatch, then continue as new."""
        workflow.set_current_details("making deliveries of events")
        for _ in range(ROUNDS_PER_RUN):
            if workflow.info().is_continue_as_new_suggested():
                break
            await workflow.execute_activity_method(
                WebhookActivities.dispatch,
                **watching("make deliveries of events", queue=GATEWAYS_QUEUE),
            )
        workflow.continue_as_new()
