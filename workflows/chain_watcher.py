"""One per chain: follows the chain's blocks for as long as there is one."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from dataclasses import dataclass

    from activities.chain import ChainActivities
    from domain.workflow_ids import chain_queue
    from workflows.options import watching

ROUNDS_PER_RUN = 100


@dataclass(frozen=True)
class WatcherInput:
    """The chain to follow; the cursor is in the database."""

    chain_id: str


@workflow.defn(name="ChainWatcherWorkflow")
class ChainWatcherWorkflow:
    """Keeps one heartbeating activity running, and its own history short."""

    @workflow.run
    async def run(self, request: WatcherInput) -> None:
        """Run rounds of watching, then continue as new."""
        workflow.set_current_details(f"following {request.chain_id}")
        for _ in range(ROUNDS_PER_RUN):
            if workflow.info().is_continue_as_new_suggested():
                break
            await workflow.execute_activity_method(
                ChainActivities.watch,
                **watching("follow the chain", queue=chain_queue(request.chain_id)),
            )
        workflow.continue_as_new(request)
