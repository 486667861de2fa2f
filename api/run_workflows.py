"""
How the API speaks to the workflows of bulk payouts: start, resume, decide, cancel.

An answer comes from the workflow or not at all, as for single payouts. The workflow is addressed by
name: its code reaches nothing of the API, and the API needs nothing of its code.
"""

import asyncio
import contextlib
import functools
import hashlib
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from api.workflow_answers import translated
from domain.errors import PayoutRunStateError, StrongroomError
from domain.runs import (
    RunAcceptance,
    RunCancellation,
    RunDecisionRequest,
    RunStanding,
    RunStart,
)
from domain.workflow_ids import (
    ACCEPT_UPDATE_ID,
    RUN_MOVED_SIGNAL,
    WALLET_QUEUE,
    payout_run_workflow_id,
)
from workflows.attributes import ASSET, USER_ID, attributes

PAYOUT_RUN_WORKFLOW = "PayoutRunWorkflow"
OUTCOME_TIMEOUT_S = 0.1

_translated = functools.partial(translated, PayoutRunStateError, "run")


class RunWorkflows:
    """Workflows of bulk payouts in one namespace."""

    def __init__(self, client: Client, *, timeout: timedelta) -> None:
        """Take the client, and how long a caller is kept waiting."""
        self._client = client
        self._timeout = timeout

    async def start(self, request: RunStart, *, user_id: str, asset: str) -> RunAcceptance:
        """
        Start the run's workflow, or meet the one that runs, and return its answer.

        Raises:
            WorkflowEngineUnavailableError: No answer; repeat with the same Idempotency-Key.
        """
        start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            PAYOUT_RUN_WORKFLOW,
            request,
            id=payout_run_workflow_id(request.run_id),
            task_queue=WALLET_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # A refused run is a draft again, and may be started once more.
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            search_attributes=attributes({USER_ID: user_id, ASSET: asset}),
            static_summary=f"bulk payout of {asset}",
        )
        try:
            async with _translated():
                acceptance: RunAcceptance = await self._client.execute_update_with_start_workflow(
                    "accept",
                    start_workflow_operation=start,
                    id=accept_update_id(request),
                    result_type=RunAcceptance,
                    rpc_timeout=self._timeout,
                )
                return acceptance
        except StrongroomError:
            # The start's own outcome is a future that complains when nobody looks at it; when the
            # server was never reached it has none and would be waited for in vain.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(OUTCOME_TIMEOUT_S):
                    await start.workflow_handle()
            raise

    async def resume(self, request: RunStart, *, user_id: str, asset: str) -> None:
        """
        Start the workflow of a run that was started before, if none runs; else let it look again.

        The step that it begins with finds the run held and holds nothing again.

        Raises:
            WorkflowEngineUnavailableError: No answer; asking again is harmless.
        """
        async with _translated():
            await self._client.start_workflow(
                PAYOUT_RUN_WORKFLOW,
                request,
                id=payout_run_workflow_id(request.run_id),
                task_queue=WALLET_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                start_signal=RUN_MOVED_SIGNAL,
                search_attributes=attributes({USER_ID: user_id, ASSET: asset}),
                static_summary=f"bulk payout of {asset}",
                rpc_timeout=self._timeout,
            )

    async def decide(self, decision: RunDecisionRequest) -> RunStanding:
        """Send an approver's decision; errors are those of ``domain.ports.RunDesk.decide``."""
        return await self._update(
            decision.run_id, "decide", decision, update_id=decision.decision_id
        )

    async def cancel(self, cancellation: RunCancellation) -> RunStanding:
        """Take a run or chosen lines of it back; the same action is answered the same."""
        return await self._update(
            cancellation.run_id, "cancel", cancellation, update_id=cancellation.action_id
        )

    async def _update(
        self,
        run_id: str,
        update: str,
        argument: RunDecisionRequest | RunCancellation,
        *,
        update_id: str,
    ) -> RunStanding:
        handle: WorkflowHandle[Any, Any] = self._client.get_workflow_handle(
            payout_run_workflow_id(run_id)
        )
        async with _translated():
            standing: RunStanding = await handle.execute_update(
                update,
                argument,
                id=update_id,
                result_type=RunStanding,
                rpc_timeout=self._timeout,
            )
        return standing


def accept_update_id(request: RunStart) -> str:
    """
    Return the id of the update that asks for an answer to this very request.

    A repeat meets the first one's answer, even after a refused workflow ended; another key does
    not, since what refused the run may have passed.
    """
    digest = hashlib.sha256(f"{request.principal}\x1f{request.idempotency_key}".encode())
    return f"{ACCEPT_UPDATE_ID}-{digest.hexdigest()}"
