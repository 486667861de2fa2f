"""
How the API speaks to purchase workflows: start, cancel, refund; and hands the gateway's events on.

An answer comes from the workflow or not at all; see ``api.payout_workflows``.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from datetime import timedelta

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from api.payout_workflows import OUTCOME_TIMEOUT_S
from api.workflow_answers import translated
from domain.errors import PurchaseStateError, StrongroomError, WorkflowEngineUnavailableError
from domain.purchases import (
    PurchaseAcceptance,
    PurchaseInput,
    PurchaseRequest,
    PurchaseStanding,
    PurchaseStatus,
    RefundRequest,
    StripeEventInput,
)
from domain.workflow_ids import (
    ACCEPT_UPDATE_ID,
    WALLET_QUEUE,
    gateway_event_workflow_id,
    purchase_workflow_id,
)
from workflows.attributes import USER_ID, attributes
from workflows.gateway_event import GatewayEventWorkflow
from workflows.purchase import PurchaseWorkflow

_translated = functools.partial(translated, PurchaseStateError, "purchase")
_Start = WithStartWorkflowOperation[PurchaseWorkflow, PurchaseStatus]


class PurchaseWorkflows:
    """Purchase workflows of one namespace."""

    def __init__(self, client: Client, *, timeout: timedelta) -> None:
        """Take the client, and how long a caller is kept waiting."""
        self._client = client
        self._timeout = timeout

    async def request(self, request: PurchaseRequest) -> PurchaseAcceptance:
        """
        Start the purchase's workflow, or meet the one that runs or ran, and return its answer.

        Raises:
            WorkflowEngineUnavailableError: No answer; repeat with the same Idempotency-Key.
        """
        start: _Start = WithStartWorkflowOperation(
            PurchaseWorkflow.run,
            PurchaseInput(request.purchase_id, request),
            id=purchase_workflow_id(request.purchase_id),
            task_queue=WALLET_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # The database knows whether there was one before; what ended is asked there.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=attributes({USER_ID: request.user_id}),
            static_summary=f"purchase by {request.user_id}",
        )
        async with _met(start), _translated():
            return await self._client.execute_update_with_start_workflow(
                PurchaseWorkflow.accept,
                start_workflow_operation=start,
                id=ACCEPT_UPDATE_ID,
                rpc_timeout=self._timeout,
            )

    async def cancel(self, purchase_id: str) -> PurchaseStanding:
        """Give a purchase up that nothing was paid for; errors are those of the desk."""
        start = self._again(purchase_id)
        async with _met(start), _translated():
            return await self._client.execute_update_with_start_workflow(
                PurchaseWorkflow.cancel, start_workflow_operation=start, rpc_timeout=self._timeout
            )

    async def refund(self, request: RefundRequest) -> PurchaseStanding:
        """Have a payment given back; errors are those of the desk."""
        start = self._again(request.purchase_id)
        async with _met(start), _translated():
            return await self._client.execute_update_with_start_workflow(
                PurchaseWorkflow.refund,
                request,
                start_workflow_operation=start,
                rpc_timeout=self._timeout,
            )

    async def take_event(self, event_id: str) -> None:
        """
        Have an event of the gateway taken to its purchase, once however often it is asked.

        Raises:
            WorkflowEngineUnavailableError: Temporal does not answer; the gateway sends it again.
        """
        try:
            await self._client.start_workflow(
                GatewayEventWorkflow.run,
                StripeEventInput(event_id),
                id=gateway_event_workflow_id(event_id),
                task_queue=WALLET_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                static_summary="an event of the payment gateway",
            )
        except WorkflowAlreadyStartedError:
            return
        except (RPCError, RuntimeError) as error:
            raise WorkflowEngineUnavailableError from error

    def _again(self, purchase_id: str) -> _Start:
        """Meet the purchase's run, or give it another one: what is asked for has ended long ago."""
        return WithStartWorkflowOperation(
            PurchaseWorkflow.run,
            PurchaseInput(purchase_id),
            id=purchase_workflow_id(purchase_id),
            task_queue=WALLET_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            static_summary=f"purchase {purchase_id}",
        )


@contextlib.asynccontextmanager
async def _met(start: _Start) -> AsyncIterator[None]:
    """Look at the start's own outcome where the update failed; it complains otherwise."""
    try:
        yield
    except StrongroomError:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(OUTCOME_TIMEOUT_S):
                await start.workflow_handle()
        raise
