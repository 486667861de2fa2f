"""Signals to running workflows, sent from activities so that their histories stay short."""

import asyncio
import contextlib
from collections.abc import Sequence

from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from domain.deposits import DepositInput
from domain.errors import WorkflowEngineUnavailableError
from domain.mixing.messages import MixInput
from domain.payouts import PayoutOutcome
from domain.purchases import PurchaseInput
from domain.webhooks import DeliveryInput
from domain.workflow_ids import (
    BATCH_MOVED_SIGNAL,
    DEPOSIT_MOVED_SIGNAL,
    DEPOSIT_WORKFLOW,
    MIX_MOVED_SIGNAL,
    MIX_WORKFLOW,
    PAYOUT_FINISHED_SIGNAL,
    PURCHASE_MOVED_SIGNAL,
    PURCHASE_WORKFLOW,
    RUN_MOVED_SIGNAL,
    WALLET_QUEUE,
    WEBHOOK_DELIVERY_WORKFLOW,
    chain_transaction_workflow_id,
    deposit_workflow_id,
    mix_workflow_id,
    payout_run_workflow_id,
    payout_workflow_id,
    purchase_workflow_id,
    webhook_delivery_workflow_id,
)

SIGNALS_AT_ONCE = 16
DEPOSIT_ID = SearchAttributeKey.for_keyword("DepositId")


class TemporalNotifier:
    """``domain.notifying.WorkflowNotifier`` through a Temporal client."""

    def __init__(self, client: Client) -> None:
        """Take the client of the namespace."""
        self._client = client
        self._gate = asyncio.Semaphore(SIGNALS_AT_ONCE)

    async def payouts_finished(self, outcomes: Sequence[PayoutOutcome]) -> None:
        """Signal each payout's workflow its final standing."""
        await asyncio.gather(
            *(
                self._signal(payout_workflow_id(o.payout_id), PAYOUT_FINISHED_SIGNAL, o)
                for o in outcomes
            )
        )

    async def runs_moved(self, run_ids: Sequence[str]) -> None:
        """Signal each bulk payout's workflow that lines of it ended."""
        await asyncio.gather(
            *(self._signal(payout_run_workflow_id(run), RUN_MOVED_SIGNAL) for run in run_ids)
        )

    async def batches_moved(self, batch_ids: Sequence[str]) -> None:
        """Signal each batch's workflow that the chain moved."""
        await asyncio.gather(
            *(self._signal(chain_transaction_workflow_id(b), BATCH_MOVED_SIGNAL) for b in batch_ids)
        )

    async def deposits_moved(self, deposit_ids: Sequence[str]) -> None:
        """Signal each deposit's workflow, starting it where none runs."""
        await asyncio.gather(*(self._move_deposit(deposit_id) for deposit_id in deposit_ids))

    async def purchases_moved(self, purchase_ids: Sequence[str]) -> None:
        """Signal each purchase's workflow, starting it where none runs."""
        await asyncio.gather(*(self._move_purchase(purchase_id) for purchase_id in purchase_ids))

    async def _move_purchase(self, purchase_id: str) -> None:
        async with self._gate:
            try:
                # As with deposits: a dispute may come months after the purchase's run has ended.
                await self._client.start_workflow(
                    PURCHASE_WORKFLOW,
                    PurchaseInput(purchase_id),
                    id=purchase_workflow_id(purchase_id),
                    task_queue=WALLET_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    start_signal=PURCHASE_MOVED_SIGNAL,
                    static_summary=f"purchase {purchase_id}",
                )
            except RPCError as error:
                raise WorkflowEngineUnavailableError from error

    async def mixes_moved(self, mix_ids: Sequence[str]) -> None:
        """Signal each mix's workflow that the last of its dole-outs ended."""
        await asyncio.gather(
            *(self._signal(mix_workflow_id(mix), MIX_MOVED_SIGNAL) for mix in mix_ids)
        )

    async def mix_funded(self, mix_id: str, queue: str) -> None:
        """Signal a mix's workflow, starting it where none runs."""
        async with self._gate:
            try:
                # A deposit may come, or be taken back, long after the mix's run has ended.
                await self._client.start_workflow(
                    MIX_WORKFLOW,
                    MixInput(mix_id),
                    id=mix_workflow_id(mix_id),
                    task_queue=queue,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    start_signal=MIX_MOVED_SIGNAL,
                    static_summary=f"mix {mix_id}",
                )
            except RPCError as error:
                raise WorkflowEngineUnavailableError from error

    async def webhooks_due(self, delivery_ids: Sequence[str]) -> None:
        """Start the workflow of each delivery, unless it was started before."""
        await asyncio.gather(*(self._start_webhook(delivery_id) for delivery_id in delivery_ids))

    async def _start_webhook(self, delivery_id: str) -> None:
        async with self._gate:
            # Started before, by whoever died before they noted it: it runs or has run.
            with contextlib.suppress(WorkflowAlreadyStartedError):
                try:
                    await self._client.start_workflow(
                        WEBHOOK_DELIVERY_WORKFLOW,
                        DeliveryInput(delivery_id),
                        id=webhook_delivery_workflow_id(delivery_id),
                        task_queue=WALLET_QUEUE,
                        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                        static_summary=f"webhook {delivery_id}",
                    )
                except RPCError as error:
                    raise WorkflowEngineUnavailableError from error

    async def _move_deposit(self, deposit_id: str) -> None:
        async with self._gate:
            try:
                # A reorg may concern a deposit whose workflow ended long ago: it gets another run
                # under the same id, which finds in the database what there is to do.
                await self._client.start_workflow(
                    DEPOSIT_WORKFLOW,
                    DepositInput(deposit_id),
                    id=deposit_workflow_id(deposit_id),
                    task_queue=WALLET_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    start_signal=DEPOSIT_MOVED_SIGNAL,
                    search_attributes=_about(deposit_id),
                    static_summary=f"deposit {deposit_id}",
                )
            except RPCError as error:
                raise WorkflowEngineUnavailableError from error

    async def _signal(self, workflow_id: str, name: str, *arguments: object) -> None:
        async with self._gate:
            try:
                handle = self._client.get_workflow_handle(workflow_id)
                await handle.signal(name, args=arguments)
            except RPCError as error:
                # An ended workflow has nothing to be told; the database says how it ended.
                if error.status != RPCStatusCode.NOT_FOUND:
                    raise WorkflowEngineUnavailableError from error


def _about(deposit_id: str) -> TypedSearchAttributes:
    return TypedSearchAttributes([SearchAttributePair(DEPOSIT_ID, deposit_id)])
