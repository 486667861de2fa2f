"""Our workflows with a change that must not be made: what runs already could not go on."""

from datetime import timedelta
from typing import override

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.chain import ChainActivities
    from activities.outgoing import OutgoingActivities
    from activities.purchases import CardActivities
    from domain.deposits import DepositInput, DepositStanding
    from domain.mixing.messages import MixInput, MixStanding, MixStatus
    from domain.payouts import PayoutOutcome, PayoutRequest
    from domain.pockets import PocketStanding, PocketTransferRequest
    from domain.ports import SweepPlan
    from domain.purchases import PurchaseInput, PurchaseStanding, PurchaseStatus
    from domain.webhooks import DeliveryInput, DeliveryStanding
    from domain.workflow_ids import GATEWAYS_QUEUE
    from workflows.options import database, patient

from workflows.chain_transaction import ChainTransactionInput, ChainTransactionWorkflow
from workflows.deposit import DepositWorkflow
from workflows.mix import MixWorkflow
from workflows.payout import PayoutWorkflow
from workflows.pocket_transfer import PocketTransferWorkflow
from workflows.purchase import PurchaseWorkflow
from workflows.sweep import SweepInput, SweepWorkflow
from workflows.webhook_delivery import WebhookDeliveryWorkflow


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


@workflow.defn(name="DepositWorkflow")
class HesitatingDeposit(DepositWorkflow):
    """Waits a moment before it looks."""

    @workflow.init
    def __init__(self, request: DepositInput) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: DepositInput) -> DepositStanding:
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(request)


@workflow.defn(name="SweepWorkflow")
class ForgetfulSweep(SweepWorkflow):
    """Plans, and drives nothing of it."""

    @workflow.init
    def __init__(self, request: SweepInput) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: SweepInput) -> None:
        await super().run(request)

    @override
    async def _plan(self) -> SweepPlan:
        plan = await super()._plan()
        return SweepPlan([], plan.interval_s)


@workflow.defn(name="WebhookDeliveryWorkflow")
class HastyWebhook(WebhookDeliveryWorkflow):
    """Waits before it sends, and so twice."""

    @override
    @workflow.run
    async def run(self, request: DeliveryInput) -> DeliveryStanding:
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(request)


@workflow.defn(name="PocketTransferWorkflow")
class HastyPocketTransfer(PocketTransferWorkflow):
    """Does not wait before it looks again."""

    @workflow.init
    def __init__(self, request: PocketTransferRequest) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: PocketTransferRequest) -> PayoutOutcome:
        return await super().run(request)

    @override
    async def _await_change(self, standing: PocketStanding) -> None:
        self._move(standing.status)


@workflow.defn(name="MixWorkflow")
class HastyMix(MixWorkflow):
    """Waits for nothing: it looks again at once."""

    @workflow.init
    def __init__(self, request: MixInput) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: MixInput) -> MixStatus:
        return await super().run(request)

    @override
    async def _advance(self) -> MixStanding:
        await super()._advance()
        return await super()._advance()


@workflow.defn(name="PurchaseWorkflow")
class HastyPurchase(PurchaseWorkflow):
    """Asks the gateway before it looks at the database."""

    @workflow.init
    def __init__(self, request: PurchaseInput) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: PurchaseInput) -> PurchaseStatus:
        return await super().run(request)

    @override
    async def _advance(self) -> PurchaseStanding:
        await workflow.execute_activity_method(
            CardActivities.sync, self._purchase_id, **patient("ask", queue=GATEWAYS_QUEUE)
        )
        return await super()._advance()
