"""
How the API speaks to payout workflows: start, decide, cancel, refund, retry.

An answer comes from the workflow or not at all. When Temporal does not answer, the caller gets 503
and repeats the same request: the same Idempotency-Key is the same workflow, however often it is
started.
"""

import asyncio
import contextlib
import functools
from datetime import timedelta

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from api.workflow_answers import translated
from domain.errors import PayoutStateError, StrongroomError
from domain.mixing.messages import MixStatus
from domain.payouts import (
    Acceptance,
    Decision,
    DecisionOutcome,
    OperatorAction,
    PayoutOutcome,
    PayoutRequest,
)
from domain.runs import RunStanding
from domain.workflow_ids import (
    ACCEPT_UPDATE_ID,
    WALLET_QUEUE,
    mix_workflow_id,
    payout_run_workflow_id,
    payout_workflow_id,
)
from workflows.attributes import ASSET, PAYOUT_ID, USER_ID, attributes
from workflows.mix import MixWorkflow
from workflows.payout import PayoutWorkflow
from workflows.payout_run import PayoutRunWorkflow

OUTCOME_TIMEOUT_S = 0.1

_translated = functools.partial(translated, PayoutStateError, "payout")


class PayoutWorkflows:
    """Payout workflows of one namespace."""

    def __init__(self, client: Client, *, timeout: timedelta) -> None:
        """Take the client, and how long a caller is kept waiting."""
        self._client = client
        self._timeout = timeout

    async def request(self, request: PayoutRequest) -> Acceptance:
        """
        Start the payout's workflow, or meet the one that runs or ran, and return its answer.

        Raises:
            WorkflowEngineUnavailableError: No answer; repeat with the same Idempotency-Key.
        """
        start: WithStartWorkflowOperation[PayoutWorkflow, PayoutOutcome]
        start = WithStartWorkflowOperation(
            PayoutWorkflow.run,
            request,
            id=payout_workflow_id(request.payout_id),
            task_queue=WALLET_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # The SDK's default would start a second payout after the first one ended.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=attributes(
                {PAYOUT_ID: request.payout_id, USER_ID: request.user_id, ASSET: request.asset}
            ),
            static_summary=f"payout of {request.asset}",
        )
        try:
            async with _translated():
                return await self._client.execute_update_with_start_workflow(
                    PayoutWorkflow.accept,
                    start_workflow_operation=start,
                    id=ACCEPT_UPDATE_ID,
                    rpc_timeout=self._timeout,
                )
        except StrongroomError:
            # The start's own outcome is a future that complains when nobody looks at it; when the
            # server was never reached it has none and would be waited for in vain.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(OUTCOME_TIMEOUT_S):
                    await start.workflow_handle()
            raise

    async def decide(self, decision: Decision) -> DecisionOutcome:
        """Send an approver's decision; errors are those of ``payouts.approvals``."""
        async with _translated():
            return await self._handle(decision.payout_id).execute_update(
                PayoutWorkflow.decide, decision, rpc_timeout=self._timeout
            )

    async def cancel(self, payout_id: str) -> PayoutOutcome:
        """Take a payout back."""
        async with _translated():
            return await self._handle(payout_id).execute_update(
                PayoutWorkflow.cancel, rpc_timeout=self._timeout
            )

    async def refund(self, action: OperatorAction) -> PayoutOutcome:
        """Refund a payout that was never signed."""
        async with _translated():
            if action.run_id is not None:
                return await self._run(action.run_id).execute_update(
                    PayoutRunWorkflow.refund_line, action, rpc_timeout=self._timeout
                )
            if action.mix_id is not None:
                return await self._mix(action.mix_id).execute_update(
                    MixWorkflow.refund_dole, action, rpc_timeout=self._timeout
                )
            return await self._handle(action.payout_id).execute_update(
                PayoutWorkflow.refund, action, rpc_timeout=self._timeout
            )

    async def retry(self, action: OperatorAction) -> PayoutOutcome:
        """Put a payout whose chain transaction was given up into another batch."""
        async with _translated():
            if action.run_id is not None:
                return await self._run(action.run_id).execute_update(
                    PayoutRunWorkflow.retry_line, action, rpc_timeout=self._timeout
                )
            if action.mix_id is not None:
                return await self._mix(action.mix_id).execute_update(
                    MixWorkflow.retry_dole, action, rpc_timeout=self._timeout
                )
            return await self._handle(action.payout_id).execute_update(
                PayoutWorkflow.retry, action, rpc_timeout=self._timeout
            )

    def _handle(self, payout_id: str) -> WorkflowHandle[PayoutWorkflow, PayoutOutcome]:
        workflow_id = payout_workflow_id(payout_id)
        return self._client.get_workflow_handle_for(PayoutWorkflow.run, workflow_id)

    def _mix(self, mix_id: str) -> WorkflowHandle[MixWorkflow, MixStatus]:
        # It runs for as long as a part of it is on its way.
        return self._client.get_workflow_handle_for(MixWorkflow.run, mix_workflow_id(mix_id))

    def _run(self, run_id: str) -> WorkflowHandle[PayoutRunWorkflow, RunStanding]:
        workflow_id = payout_run_workflow_id(run_id)
        return self._client.get_workflow_handle_for(PayoutRunWorkflow.run, workflow_id)
