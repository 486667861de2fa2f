"""One per hot wallet: takes ready payouts into batches, each driven by a workflow of its own."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from dataclasses import dataclass

    from activities.outgoing import ClaimInput, OutgoingActivities
    from workflows.batches import start_batch
    from workflows.options import watching

BATCHES_PER_RUN = 200
"""Continue as new after this many, or sooner when the server suggests it."""


@dataclass(frozen=True)
class BatcherInput:
    """The chain and the hot wallet whose payouts are batched."""

    chain_id: str
    wallet_address: str


@workflow.defn(name="PayoutBatcherWorkflow")
class PayoutBatcherWorkflow:
    """Never ends; it keeps nothing but the two ids it began with."""

    @workflow.run
    async def run(self, request: BatcherInput) -> None:
        """Claim batches and start their workflows."""
        batches = 0
        while batches < BATCHES_PER_RUN and not workflow.info().is_continue_as_new_suggested():
            # The key is fixed before the claim: a claim whose answer is lost is found again.
            claim = ClaimInput(
                chain_id=request.chain_id,
                wallet_address=request.wallet_address,
                claim_key=f"{workflow.info().workflow_id}:{workflow.uuid4()}",
            )
            batch_id = await workflow.execute_activity_method(
                OutgoingActivities.await_batch,
                claim,
                **watching("wait for ready payouts"),
            )
            if batch_id is not None:
                await start_batch(batch_id, request.chain_id)
            batches += 1
        workflow.continue_as_new(request)
