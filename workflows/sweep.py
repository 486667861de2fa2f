"""One per chain: collects deposits into the hot wallet, on a schedule and when it is told to."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from dataclasses import dataclass
    from datetime import timedelta

    from activities.sweeps import SweepActivities
    from domain.ports import SweepPlan
    from domain.workflow_ids import SWEEP_WORKFLOW, chain_queue
    from workflows.batches import start_batches
    from workflows.options import patient

ROUNDS_PER_RUN = 200


@dataclass(frozen=True)
class SweepInput:
    """The chain whose deposits are collected, and whether an earlier run was told to do it now."""

    chain_id: str
    is_forced: bool = False


@workflow.defn(name=SWEEP_WORKFLOW)
class SweepWorkflow:
    """Never ends. Each sweep is driven by a chain-transaction workflow like any payment."""

    @workflow.init
    def __init__(self, request: SweepInput) -> None:
        """Signals may come before ``run``."""
        self._chain_id = request.chain_id
        self._is_forced = request.is_forced

    @workflow.run
    async def run(self, request: SweepInput) -> None:
        """Look for what is worth sweeping, again and again."""
        for _ in range(ROUNDS_PER_RUN):
            if workflow.info().is_continue_as_new_suggested():
                break
            plan = await self._plan()
            # What is asked for again while it is on its way is driven already.
            await start_batches(plan.batches, request.chain_id)
            await self._await_next(timedelta(seconds=plan.interval_s))
        workflow.continue_as_new(SweepInput(request.chain_id, is_forced=self._is_forced))

    @workflow.signal
    def sweep_now(self) -> None:
        """Sweep at once, whatever the least amounts are."""
        self._is_forced = True

    async def _plan(self) -> SweepPlan:
        is_forced, self._is_forced = self._is_forced, False
        return await workflow.execute_activity_method(
            SweepActivities.plan,
            is_forced,
            **patient("look for deposits worth sweeping", queue=chain_queue(self._chain_id)),
        )

    async def _await_next(self, interval: timedelta) -> None:
        workflow.set_current_details(f"next look at {self._chain_id} in {interval}")
        try:
            await workflow.wait_condition(
                lambda: self._is_forced, timeout=interval, timeout_summary="look again after this"
            )
        except TimeoutError:
            return
