"""Our workflows with a change that must not be made: what runs already could not go on."""

from datetime import timedelta
from typing import override

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.chain import ChainActivities
    from activities.outgoing import OutgoingActivities
    from domain.payouts import PayoutOutcome, PayoutRequest
    from workflows.options import database, patient

from workflows.chain_transaction import ChainTransactionInput, ChainTransactionWorkflow
from workflows.payout import PayoutWorkflow


@workflow.defn(name="ChainTransactionWorkflow")
class ReorderedChainTransaction(ChainTransactionWorkflow):
    """Allocates before it plans fees."""

    @workflow.init
    def __init__(self, request: ChainTransactionInput) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: ChainTransactionInput) -> None:
        await super().run(request)

    @override
    async def _allocate(self) -> None:
        await workflow.execute_local_activity_method(
            OutgoingActivities.allocate, self._batch_id, **database("allocate")
        )
        await workflow.execute_activity_method(
            ChainActivities.prepare, self._batch_id, **patient("plan", queue=self._chain_queue)
        )


@workflow.defn(name="PayoutWorkflow")
class HesitatingPayout(PayoutWorkflow):
    """Waits a moment before it freezes."""

    @workflow.init
    def __init__(self, request: PayoutRequest) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: PayoutRequest) -> PayoutOutcome:
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(request)
