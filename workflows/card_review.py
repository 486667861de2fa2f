"""One per namespace: keeps looking for what webhooks should have told of card payments."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.purchases import CardReviewActivities
    from domain.workflow_ids import GATEWAYS_QUEUE
    from workflows.options import watching

ROUNDS_PER_RUN = 100


@workflow.defn(name="CardReviewWorkflow")
class CardReviewWorkflow:
    """Keeps one heartbeating activity running, and its own history short."""

    @workflow.run
    async def run(self) -> None:
        """Run rounds of asking, then continue as new."""
        for _ in range(ROUNDS_PER_RUN):
            if workflow.info().is_continue_as_new_suggested():
                break
            await workflow.execute_activity_method(
                CardReviewActivities.review,
                **watching("look for what no webhook brought", queue=GATEWAYS_QUEUE),
            )
        workflow.continue_as_new()
