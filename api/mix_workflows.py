"""
How the API speaks to mix workflows: start, cancel, pause, resume, hold.

An answer comes from the workflow or not at all; see ``api.payout_workflows``.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from api.payout_workflows import OUTCOME_TIMEOUT_S
from api.workflow_answers import translated
from domain.errors import MixStateError, StrongroomError
from domain.mixing.messages import (
    MixAcceptance,
    MixAction,
    MixInput,
    MixRequest,
    MixStanding,
    MixStatus,
)
from domain.workflow_ids import ACCEPT_UPDATE_ID, mix_workflow_id, mixer_queue
from workflows.attributes import USER_ID, attributes
from workflows.mix import MixWorkflow

_translated = functools.partial(translated, MixStateError, "mix")
_Start = WithStartWorkflowOperation[MixWorkflow, MixStatus]


class MixWorkflows:
    """Mix workflows of one namespace."""

    def __init__(self, client: Client, *, timeout: timedelta) -> None:
        """Take the client, and how long a caller is kept waiting."""
        self._client = client
        self._timeout = timeout

    async def request(self, request: MixRequest) -> MixAcceptance:
        """
        Start the mix's workflow, or meet the one that runs or ran, and return its answer.

        Raises:
            WorkflowEngineUnavailableError: No answer; repeat with the same Idempotency-Key.
        """
        start: _Start = WithStartWorkflowOperation(
            MixWorkflow.run,
            MixInput(request.mix_id, request),
            id=mix_workflow_id(request.mix_id),
            task_queue=mixer_queue(request.mixer_id),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=attributes({USER_ID: request.user_id}),
            static_summary=f"mix by {request.user_id}",
        )
        async with _met(start), _translated():
            return await self._client.execute_update_with_start_workflow(
                MixWorkflow.accept,
                start_workflow_operation=start,
                id=ACCEPT_UPDATE_ID,
                rpc_timeout=self._timeout,
            )

    async def cancel(self, mix_id: str, mixer_id: str) -> MixStanding:
        """Give a mix up before its first part leaves; errors are those of the desk."""
        return await self._update(MixWorkflow.cancel, mix_id, mixer_id)

    async def pause(self, mix_id: str, mixer_id: str) -> MixStanding:
        """Let nothing leave until it is resumed."""
        return await self._update(MixWorkflow.pause, mix_id, mixer_id)

    async def resume(self, mix_id: str, mixer_id: str) -> MixStanding:
        """Go on."""
        return await self._update(MixWorkflow.resume, mix_id, mixer_id)

    async def hold(self, action: MixAction, mixer_id: str) -> MixStanding:
        """Let nothing leave, or be given back, until an operator lifts it."""
        return await self._update(MixWorkflow.hold, action.mix_id, mixer_id, action)

    async def release_hold(self, action: MixAction, mixer_id: str) -> MixStanding:
        """Let a held mix go on."""
        return await self._update(MixWorkflow.release_hold, action.mix_id, mixer_id, action)

    async def _update(
        self, update: Any, mix_id: str, mixer_id: str, *arguments: MixAction
    ) -> MixStanding:
        """Ask the mix's run, or give it another one: what is asked for may have ended long ago."""
        start: _Start = WithStartWorkflowOperation(
            MixWorkflow.run,
            MixInput(mix_id),
            id=mix_workflow_id(mix_id),
            task_queue=mixer_queue(mixer_id),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            static_summary=f"mix {mix_id}",
        )
        async with _met(start), _translated():
            standing: MixStanding = await self._client.execute_update_with_start_workflow(
                update,
                args=arguments,
                start_workflow_operation=start,
                rpc_timeout=self._timeout,
            )
            return standing


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
