"""How the API tells a chain's sweep workflow to sweep at once."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from domain.errors import WorkflowEngineUnavailableError
from domain.workflow_ids import SWEEP_NOW_SIGNAL, WALLET_QUEUE, sweep_workflow_id
from workflows.attributes import CHAIN_ID, attributes
from workflows.sweep import SweepInput, SweepWorkflow


class SweepWorkflows:
    """Sweep workflows of one namespace; each chain has one, and it never ends."""

    def __init__(self, client: Client) -> None:
        """Take the client of the namespace."""
        self._client = client

    async def sweep_now(self, chain_id: str) -> None:
        """
        Signal the chain's workflow, starting it where no worker has done so yet.

        Raises:
            WorkflowEngineUnavailableError: Temporal does not answer; asking again is harmless.
        """
        try:
            await self._client.start_workflow(
                SweepWorkflow.run,
                SweepInput(chain_id),
                id=sweep_workflow_id(chain_id),
                task_queue=WALLET_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal=SWEEP_NOW_SIGNAL,
                search_attributes=attributes({CHAIN_ID: chain_id}),
            )
        except RPCError as error:
            raise WorkflowEngineUnavailableError from error
