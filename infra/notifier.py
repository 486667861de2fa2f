"""Signals to running workflows, sent from activities so that their histories stay short."""

import asyncio
from collections.abc import Sequence

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import WorkflowEngineUnavailableError
from domain.payouts import PayoutOutcome
from domain.workflow_ids import (
    BATCH_MOVED_SIGNAL,
    PAYOUT_FINISHED_SIGNAL,
    chain_transaction_workflow_id,
    payout_workflow_id,
)

SIGNALS_AT_ONCE = 16


class TemporalNotifier:
    """``domain.ports.WorkflowNotifier`` through a Temporal client."""

    def __init__(self, client: Client) -> None:
        """Take the client of the namespace."""
        self._client = client
        self._gate = asyncio.Semaphore(SIGNALS_AT_ONCE)

    async def payouts_finished(self, outcomes: Sequence[PayoutOutcome]) -> None:
        """Signal each payout's workflow its final standing."""
        await asyncio.gather(
            *(
                self._signal(payout_workflow_id(o.payout_id), PAYOUT_FINISHED_SIGNAL, o)
                for o in outcomes
            )
        )

    async def batches_moved(self, batch_ids: Sequence[str]) -> None:
        """Signal each batch's workflow that the chain moved."""
        await asyncio.gather(
            *(self._signal(chain_transaction_workflow_id(b), BATCH_MOVED_SIGNAL) for b in batch_ids)
        )

    async def _signal(self, workflow_id: str, name: str, *arguments: object) -> None:
        async with self._gate:
            try:
                handle = self._client.get_workflow_handle(workflow_id)
                await handle.signal(name, args=arguments)
            except RPCError as error:
                # An ended workflow has nothing to be told; the database says how it ended.
                if error.status != RPCStatusCode.NOT_FOUND:
                    raise WorkflowEngineUnavailableError from error
