"""Bulk payouts with changes that must not be made; see ``tests.support.changed_workflows``."""

from datetime import timedelta
from typing import override

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.runs import RunActivities
    from domain.runs import RunStanding, RunStart
    from workflows.options import many_rows

from workflows.payout_run import PayoutRunWorkflow


@workflow.defn(name="PayoutRunWorkflow")
class HesitatingRun(PayoutRunWorkflow):
    """Waits a moment before it holds the total."""

    @workflow.init
    def __init__(self, request: RunStart) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: RunStart) -> RunStanding:
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(request)


@workflow.defn(name="PayoutRunWorkflow")
class HastyRun(PayoutRunWorkflow):
    """Looks whether approvals are overdue where it only counted lines."""

    @workflow.init
    def __init__(self, request: RunStart) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: RunStart) -> RunStanding:
        return await super().run(request)

    @override
    async def _advance(self) -> RunStanding:
        return await workflow.execute_activity_method(
            RunActivities.expire, self._run_id, **many_rows("approvals are overdue")
        )
