"""
One KYC application: reviewed, and watched for as long as what it granted may lapse.

What is due is decided by the database; the workflow wakes for it, and passes on what people say.
It ends when nothing more is expected. An owner who takes the level away after that starts another
run under the same id.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from collections.abc import Awaitable, Callable
    from datetime import timedelta
    from typing import Any

    from activities.kyc import KycActivities
    from domain.kyc import (
        KycDecisionRequest,
        KycDowngradeRequest,
        KycInput,
        KycStanding,
        KycSupply,
    )
    from domain.workflow_ids import KYC_WORKFLOW
    from workflows.options import database

LOOK_AGAIN = timedelta(days=30)
"""Nothing is waited for longer at one go: a passport may last for ten years."""

OVERDUE_RETRY = timedelta(minutes=1)
"""How soon it is asked again for what by the database's clock was not yet due."""


@workflow.defn(name=KYC_WORKFLOW)
class KycApplicationWorkflow:
    """Reminds, expires and lapses by timers; takes decisions as updates."""

    @workflow.init
    def __init__(self, request: KycInput) -> None:
        """Handlers may run before ``run``: the update that starts the workflow always does."""
        self._application_id = request.application_id
        self._standing: KycStanding | None = None
        self._has_moved = False

    @workflow.run
    async def run(self, request: KycInput) -> KycStanding:
        """Take the application to where nothing more is expected, and return where that is."""
        while (standing := await self._advance()).next_at is not None or self._has_moved:
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(request)
            await self._await_due(standing)
        # An update that is still being answered would be dropped with the run.
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._standing or standing

    @workflow.update
    async def accept(self) -> KycStanding:
        """Answer the applicant once the review is open."""
        await workflow.wait_condition(lambda: self._standing is not None)
        assert self._standing is not None
        return self._standing

    @workflow.update
    async def decide(self, decision: KycDecisionRequest) -> KycStanding:
        """Take a reviewer's decision; the database has the last word on whether it counts."""
        return await self._ask(KycActivities.decide, decision, f"{decision.kind} by a reviewer")

    @workflow.update
    async def supply(self, supply: KycSupply) -> KycStanding:
        """Take in what the applicant handed in."""
        return await self._ask(KycActivities.supply, supply, "the applicant hands documents in")

    @workflow.update
    async def withdraw(self) -> KycStanding:
        """Let the applicant take it back."""
        return await self._ask(KycActivities.withdraw, self._application_id, "withdraw")

    @workflow.update
    async def downgrade(self, request: KycDowngradeRequest) -> KycStanding:
        """Let an owner take the level away that it granted."""
        return await self._ask(
            KycActivities.downgrade, request, f"down to level {request.level} by an owner"
        )

    async def _ask(
        self, step: Callable[[KycActivities, Any], Awaitable[KycStanding]], about: Any, summary: str
    ) -> KycStanding:
        standing = await workflow.execute_local_activity_method(step, about, **database(summary))
        self._show(standing)
        # What is due next may be another thing now; which of two answers is the later one, only
        # the database knows.
        self._has_moved = True
        return standing

    async def _advance(self) -> KycStanding:
        self._has_moved = False
        standing = await workflow.execute_local_activity_method(
            KycActivities.advance, self._application_id, **database("do what is due")
        )
        self._show(standing)
        return standing

    async def _await_due(self, standing: KycStanding) -> None:
        if standing.next_at is None:
            return
        # The database's clock decides. If it is behind ours, asking at once would ask in a circle.
        left = max(standing.next_at - workflow.now(), OVERDUE_RETRY)
        try:
            await workflow.wait_condition(
                lambda: self._has_moved,
                timeout=min(left, LOOK_AGAIN),
                timeout_summary=standing.next_is if left <= LOOK_AGAIN else "look again",
            )
        except TimeoutError:
            workflow.logger.info("%s: %s", self._application_id, standing.next_is)

    def _show(self, standing: KycStanding) -> None:
        self._standing = standing
        due = f", next: {standing.next_is} at {standing.next_at}" if standing.next_at else ""
        workflow.set_current_details(
            f"**{standing.status}** · level {standing.level}, revision {standing.revision}{due}"
        )
