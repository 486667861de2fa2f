"""Starting the workflow that drives a batch, from whichever workflow made the batch."""

import asyncio
from collections.abc import Sequence

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from datetime import timedelta

    from temporalio.exceptions import WorkflowAlreadyStartedError
    from temporalio.workflow import ParentClosePolicy

    from domain.workflow_ids import chain_transaction_workflow_id
    from workflows.attributes import BATCH_ID, CHAIN_ID, attributes
    from workflows.chain_transaction import ChainTransactionInput, ChainTransactionWorkflow

TOGETHER = "start-batches-together"


async def start_batch(batch_id: str, chain_id: str) -> None:
    """Start a batch's workflow, which outlives its parent; one that runs already goes on."""
    try:
        await workflow.start_child_workflow(
            ChainTransactionWorkflow.run,
            ChainTransactionInput(batch_id, chain_id),
            id=chain_transaction_workflow_id(batch_id),
            parent_close_policy=ParentClosePolicy.ABANDON,
            search_attributes=attributes({CHAIN_ID: chain_id, BATCH_ID: batch_id}),
            static_summary=f"batch {batch_id}",
            task_timeout=timedelta(seconds=10),
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("batch %s is on its way already", batch_id)


async def start_batches(batch_ids: Sequence[str], chain_id: str) -> None:
    """Start the workflows of many batches in one workflow task, not in one for each."""
    if workflow.patched(TOGETHER):
        await asyncio.gather(*(start_batch(batch_id, chain_id) for batch_id in batch_ids))
        return
    for batch_id in batch_ids:
        await start_batch(batch_id, chain_id)
