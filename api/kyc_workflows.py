"""
How the API speaks to the workflows of KYC applications.

Every message may start the workflow: an application is stored before it is started, and whoever
next has to do with it starts what a crash kept from starting.
"""

import asyncio
import contextlib
import functools
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from api.workflow_answers import translated
from domain.errors import KycApplicationStateError, StrongroomError
from domain.ids import new_id
from domain.kyc import (
    KycDecisionRequest,
    KycDowngradeRequest,
    KycInput,
    KycStanding,
    KycSupply,
)
from domain.workflow_ids import ACCEPT_UPDATE_ID, KYC_WORKFLOW, WALLET_QUEUE, kyc_workflow_id
from workflows.attributes import USER_ID, attributes

OUTCOME_TIMEOUT_S = 0.1

_translated = functools.partial(translated, KycApplicationStateError, "application")


class KycWorkflows:
    """Workflows of KYC applications in one namespace; errors are those of ``KycDesk``."""

    def __init__(self, client: Client, *, timeout: timedelta) -> None:
        """Take the client, and how long a caller is kept waiting."""
        self._client = client
        self._timeout = timeout

    async def accept(self, application_id: str, *, user_id: str) -> KycStanding:
        """
        Have a stored application reviewed; a repeat answers the same.

        Raises:
            WorkflowEngineUnavailableError: No answer; repeat with the same Idempotency-Key.
        """
        return await self._update(application_id, user_id, "accept", update_id=ACCEPT_UPDATE_ID)

    async def decide(self, decision: KycDecisionRequest, *, user_id: str) -> KycStanding:
        """Send a reviewer's decision on this user's application."""
        return await self._update(
            decision.application_id, user_id, "decide", decision, update_id=decision.decision_id
        )

    async def supply(self, supply: KycSupply, *, user_id: str) -> KycStanding:
        """Say that documents were handed in."""
        update_id = f"supply-{supply.revision}"
        return await self._update(
            supply.application_id, user_id, "supply", supply, update_id=update_id
        )

    async def withdraw(self, application_id: str, *, user_id: str) -> KycStanding:
        """Take an application back."""
        return await self._update(application_id, user_id, "withdraw", update_id=new_id("upd"))

    async def downgrade(self, request: KycDowngradeRequest, *, user_id: str) -> KycStanding:
        """Send an owner's word on a level."""
        return await self._update(
            request.application_id, user_id, "downgrade", request, update_id=request.decision_id
        )

    async def _update(
        self, application_id: str, user_id: str, update: str, *arguments: Any, update_id: str
    ) -> KycStanding:
        start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            KYC_WORKFLOW,
            KycInput(application_id),
            id=kyc_workflow_id(application_id),
            task_queue=WALLET_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # It may have ended; what it does then, the database has done or refuses.
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            search_attributes=attributes({USER_ID: user_id}),
            static_summary=f"KYC application {application_id}",
        )
        try:
            async with _translated():
                standing: KycStanding = await self._client.execute_update_with_start_workflow(
                    update,
                    args=list(arguments),
                    start_workflow_operation=start,
                    id=update_id,
                    result_type=KycStanding,
                    rpc_timeout=self._timeout,
                )
                return standing
        except StrongroomError:
            # The start's own outcome is a future that complains when nobody looks at it; when the
            # server was never reached it has none and would be waited for in vain.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(OUTCOME_TIMEOUT_S):
                    await start.workflow_handle()
            raise
