"""
One deposit: seen, confirming, credited; forgotten or taken back when the chain takes it back.

The watcher starts it and tells it when there is something to do; what that is, the database knows.
It ends when nothing more is expected. Should a reorg concern the deposit later, the watcher starts
another run under the same id.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from datetime import timedelta

    from activities.deposits import DepositActivities
    from activities.mixing import MixNewsActivities
    from activities.purchases import PurchaseActivities
    from domain.deposits import DepositInput, DepositStanding, DepositStatus
    from domain.workflow_ids import DEPOSIT_WORKFLOW
    from workflows.options import database, patient

RECHECK = timedelta(hours=1)
"""A deposit that waits looks at the database this often, should a signal ever be lost."""


@workflow.defn(name=DEPOSIT_WORKFLOW)
class DepositWorkflow:
    """Moves no money by itself: each step is one unit of work on the database."""

    @workflow.init
    def __init__(self, request: DepositInput) -> None:
        """Signals may come before ``run``: the one that starts the workflow always does."""
        self._deposit_id = request.deposit_id
        self._moved = False

    @workflow.run
    async def run(self, request: DepositInput) -> DepositStanding:
        """Take the deposit to where nothing more is expected, and return where that is."""
        while (standing := await self._advance()).is_waiting or self._moved:
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(request)
            await self._await_move()
        return standing

    @workflow.signal
    def moved(self) -> None:
        """Learn from the watcher that there is something to do."""
        self._moved = True

    async def _advance(self) -> DepositStanding:
        self._moved = False
        standing = await workflow.execute_local_activity_method(
            DepositActivities.advance,
            self._deposit_id,
            **database("book it, or take it back"),
        )
        workflow.set_current_details(_shown(standing))
        if standing.purchase_id is not None:
            await workflow.execute_activity_method(
                PurchaseActivities.tell,
                standing.purchase_id,
                **patient("have the purchase that it pays look"),
            )
        if standing.mix_id is not None:
            await workflow.execute_activity_method(
                MixNewsActivities.tell,
                args=[standing.mix_id, str(standing.mix_queue)],
                **patient("have the mix that it is for look"),
            )
        return standing

    async def _await_move(self) -> None:
        try:
            await workflow.wait_condition(
                lambda: self._moved, timeout=RECHECK, timeout_summary="look again after this"
            )
        except TimeoutError:
            workflow.logger.info("deposit %s has waited for an hour", self._deposit_id)


def _shown(standing: DepositStanding) -> str:
    amount = f"{standing.amount} {standing.asset or 'of an unlisted asset'}"
    if standing.status != DepositStatus.CONFIRMING:
        return f"**{standing.status}** · {amount}"
    depth = f"{standing.confirmations}/{standing.confirmations_required}"
    return f"**confirming** {depth} · {amount}"
