"""How the API starts the workflows of transfers to and from pockets; later it treats them alike."""

import asyncio
import contextlib
import functools
from datetime import timedelta

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from api.payout_workflows import OUTCOME_TIMEOUT_S
from api.workflow_answers import translated
from domain.errors import PayoutStateError, StrongroomError
from domain.payouts import Acceptance, PayoutOutcome
from domain.pockets import PocketTransferRequest
from domain.workflow_ids import ACCEPT_UPDATE_ID, WALLET_QUEUE, payout_workflow_id
from workflows.attributes import ASSET, CHAIN_ID, PAYOUT_ID, USER_ID, attributes
from workflows.pocket_transfer import PocketTransferWorkflow

_translated = functools.partial(translated, PayoutStateError, "transfer")


class PocketWorkflows:
    """Pocket transfer workflows of one namespace."""

    def __init__(self, client: Client, *, timeout: timedelta) -> None:
        """Take the client, and how long a caller is kept waiting."""
        self._client = client
        self._timeout = timeout

    async def request(self, request: PocketTransferRequest) -> Acceptance:
        """
        Start the transfer's workflow, or meet the one that runs or ran, and return its answer.

        Raises:
            WorkflowEngineUnavailableError: No answer; repeat with the same Idempotency-Key.
        """
        start: WithStartWorkflowOperation[PocketTransferWorkflow, PayoutOutcome]
        start = WithStartWorkflowOperation(
            PocketTransferWorkflow.run,
            request,
            id=payout_workflow_id(request.payout_id),
            task_queue=WALLET_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # The SDK's default would start a second transfer after the first one ended.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=attributes(
                {
                    PAYOUT_ID: request.payout_id,
                    USER_ID: request.user_id,
                    ASSET: request.asset,
                    CHAIN_ID: request.chain_id,
                }
            ),
            static_summary=f"{request.route} of {request.asset}",
        )
        try:
            async with _translated():
                return await self._client.execute_update_with_start_workflow(
                    PocketTransferWorkflow.accept,
                    start_workflow_operation=start,
                    id=ACCEPT_UPDATE_ID,
                    rpc_timeout=self._timeout,
                )
        except StrongroomError:
            # See ``api.payout_workflows``: the start's own outcome complains when nobody looks.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(OUTCOME_TIMEOUT_S):
                    await start.workflow_handle()
            raise
