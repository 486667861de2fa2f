"""One per hot wallet: takes ready payouts into batches, each driven by a workflow of its own."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from dataclasses import dataclass
    from datetime import timedelta

    from temporalio.exceptions import WorkflowAlreadyStartedError
    from temporalio.workflow import ParentClosePolicy

    from activities.outgoing import ClaimInput, OutgoingActivities
    from domain.workflow_ids import chain_transaction_workflow_id
    from workflows.attributes import BATCH_ID, CHAIN_ID, attributes
    from workflows.chain_transaction import ChainTransactionInput, ChainTransactionWorkflow
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
                await self._start(ChainTransactionInput(batch_id, request.chain_id))
            batches += 1
        workflow.continue_as_new(request)

    async def _start(self, batch: ChainTransactionInput) -> None:
        try:
            await workflow.start_child_workflow(
                ChainTransactionWorkflow.run,
                batch,
                id=chain_transaction_workflow_id(batch.batch_id),
                parent_close_policy=ParentClosePolicy.ABANDON,
                search_attributes=attributes({CHAIN_ID: batch.chain_id, BATCH_ID: batch.batch_id}),
                static_summary=f"batch {batch.batch_id}",
                task_timeout=timedelta(seconds=10),
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("batch %s is on its way already", batch.batch_id)
