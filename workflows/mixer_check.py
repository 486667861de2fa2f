"""One per namespace: keeps comparing the books of mixers, and purges what was kept long enough."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.mixing import MixerCheckActivities
    from workflows.options import watching

ROUNDS_PER_RUN = 100


@workflow.defn(name="MixerCheckWorkflow")
class MixerCheckWorkflow:
    """Keeps one heartbeating activity running, and its own history short."""

    @workflow.run
    async def run(self) -> None:
        """Run rounds of comparing, then continue as new."""
        for _ in range(ROUNDS_PER_RUN):
            if workflow.info().is_continue_as_new_suggested():
                break
            await workflow.execute_activity_method(
                MixerCheckActivities.check, **watching("compare the books of mixers")
            )
        workflow.continue_as_new()
