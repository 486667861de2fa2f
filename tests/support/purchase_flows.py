"""Purchase workflows on a real Temporal server, over fakes; and the paths that they take."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Interceptor, Worker

from activities.deposits import DepositActivities
from activities.failures import FailureInterceptor
from activities.purchases import (
    CardActivities,
    CardReviewActivities,
    PurchaseActivities,
    RateActivities,
)
from api.purchase_workflows import PurchaseWorkflows
from domain.ids import PURCHASE, new_id
from domain.purchases import PaymentMethod, PurchaseRequest, PurchaseStatus, RefundRequest
from domain.workflow_ids import (
    CARD_REVIEW_ID,
    GATEWAYS_QUEUE,
    RATES_WORKFLOW_ID,
    WALLET_QUEUE,
    deposit_workflow_id,
    gateway_event_workflow_id,
    purchase_workflow_id,
)
from infra.notifier import TemporalNotifier
from tests.support.fake_shop import (
    RECHECK,
    WINDOW,
    FakeCardDesk,
    FakeCardReview,
    FakePurchase,
    FakePurchaseDesk,
    FakeRateDesk,
    FakeShop,
    PayingDepositDesk,
)
from tests.support.flows import events_of, until
from worker import WORKFLOWS, sandbox
from workflows.card_review import CardReviewWorkflow
from workflows.rates import RatesWorkflow

Handle = WorkflowHandle[Any, Any]
Handles = dict[str, Handle]


@dataclass
class PurchaseFlow:
    """Workers for purchases and the gateway, and what the API does."""

    environment: WorkflowEnvironment
    shop: FakeShop
    interceptors: tuple[Interceptor, ...] = ()
    cached_workflows: int = 1_000
    started: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = self.environment.client
        self.api = PurchaseWorkflows(self.client, timeout=timedelta(seconds=20))
        self.notifier = TemporalNotifier(self.client)

    def steps(self) -> dict[str, list[Callable[..., Any]]]:
        """Return every activity by its queue."""
        purchases = PurchaseActivities(FakePurchaseDesk(self.shop), self.notifier)
        deposits = DepositActivities(PayingDepositDesk(self.shop))
        cards = CardActivities(FakeCardDesk(self.shop), self.notifier)
        reviews = CardReviewActivities(
            cards, FakeCardReview(self.shop), interval=timedelta(milliseconds=10)
        )
        rates = RateActivities(FakeRateDesk(self.shop), interval=timedelta(milliseconds=10))
        return {
            WALLET_QUEUE: [
                purchases.open,
                purchases.advance,
                purchases.cancel,
                purchases.request_refund,
                purchases.tell,
                deposits.advance,
            ],
            GATEWAYS_QUEUE: [
                cards.create_intent,
                cards.sync,
                cards.cancel_intent,
                cards.refund,
                cards.handle_event,
                reviews.review,
                rates.follow,
            ],
        }

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        workers = [
            Worker(
                self.client,
                task_queue=queue,
                activities=activities,
                workflows=WORKFLOWS if queue == WALLET_QUEUE else (),
                workflow_runner=sandbox(),
                interceptors=[*self.interceptors, FailureInterceptor()],
                max_cached_workflows=self.cached_workflows,
            )
            for queue, activities in self.steps().items()
        ]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            yield
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers))
            await asyncio.gather(*running)

    async def buy(self, purchase_id: str = "") -> FakePurchase:
        """Ask for a purchase as the API does."""
        chosen = purchase_id or new_id(PURCHASE)
        self.started += [purchase_workflow_id(chosen), deposit_workflow_id(deposit_of(chosen))]
        accepted = await self.api.request(
            PurchaseRequest(chosen, "usr_buyer", "usr_buyer", chosen, "hash", "quo_1")
        )
        assert accepted.status == PurchaseStatus.AWAITING_PAYMENT
        return self.shop.purchases[chosen]

    async def tell(self, purchase: FakePurchase) -> None:
        await self.notifier.purchases_moved([purchase.id])

    async def event(self, event_id: str, purchase_id: str | None) -> Handle:
        """Let an event of the gateway arrive."""
        self.shop.events[event_id] = purchase_id
        workflow_id = gateway_event_workflow_id(event_id)
        self.started.append(workflow_id)
        await self.api.take_event(event_id)
        return self.client.get_workflow_handle(workflow_id)

    async def run_of(self, purchase: FakePurchase) -> Handle:
        """Return the newest run of a purchase's workflow."""
        return await self.newest(purchase_workflow_id(purchase.id))

    async def end_after(self, run: Handle, duration: timedelta) -> None:
        """Skip so much of a run's time, and wait until it has ended."""
        # The server does not say that the skipping is over when the run ends in the midst of it.
        skipping = asyncio.create_task(self.environment.fast_forward(run, duration))
        try:
            await run.result()
        finally:
            skipping.cancel()
            with suppress(asyncio.CancelledError, RPCError):
                await skipping

    async def newest(self, workflow_id: str) -> Handle:
        described = await self.client.get_workflow_handle(workflow_id).describe()
        return self.client.get_workflow_handle(workflow_id, run_id=described.run_id)

    async def clean_up(self) -> None:
        for workflow_id in self.started:
            with suppress(RPCError):
                await self.client.get_workflow_handle(workflow_id).terminate("the test is over")


def deposit_of(purchase_id: str) -> str:
    return purchase_id.replace("pur_", "dep_")


@asynccontextmanager
async def purchase_flow_on(
    environment: WorkflowEnvironment,
    shop: FakeShop,
    *interceptors: Interceptor,
    cached_workflows: int = 1_000,
) -> AsyncIterator[PurchaseFlow]:
    """Yield running workers over this shop; nothing runs any more afterwards."""
    flow = PurchaseFlow(environment, shop, interceptors, cached_workflows)
    async with flow.working():
        try:
            yield flow
        finally:
            await flow.clean_up()


Scenario = Callable[[PurchaseFlow], Awaitable[Handles]]


async def with_intent(flow: PurchaseFlow) -> FakePurchase:
    """Return a purchase that can be paid, and whose workflow waits for that."""
    purchase = await flow.buy()
    run = await flow.run_of(purchase)

    async def is_waiting() -> bool:
        return "TIMER_STARTED" in await events_of(run)

    await until(is_waiting)
    assert purchase.has_intent
    return purchase


async def card_paid(flow: PurchaseFlow) -> Handles:
    """A card pays, an event says so, and it is credited."""
    purchase = await with_intent(flow)
    purchase.is_paid = True
    event = await flow.event(f"evt_{purchase.id}", purchase.id)
    run = await flow.run_of(purchase)
    await run.result()
    await event.result()
    return {"purchase_card": run, "gateway_event": event}


async def card_rechecked(flow: PurchaseFlow) -> Handles:
    """Every event is lost; the purchase asks by itself."""
    purchase = await with_intent(flow)
    purchase.is_paid = True
    run = await flow.run_of(purchase)
    flow.shop.clock.advance(RECHECK)
    await flow.end_after(run, RECHECK)
    return {"purchase_card_rechecked": run}


async def card_expired(flow: PurchaseFlow) -> Handles:
    purchase = await with_intent(flow)
    run = await flow.run_of(purchase)
    flow.shop.clock.advance(WINDOW)
    await flow.end_after(run, RECHECK)
    return {"purchase_card_expired": run}


async def card_given_up(flow: PurchaseFlow) -> Handles:
    purchase = await with_intent(flow)
    run = await flow.run_of(purchase)
    await flow.api.cancel(purchase.id)
    await run.result()
    return {"purchase_cancelled": run}


async def card_refunded(flow: PurchaseFlow) -> Handles:
    """An operator refunds long after the purchase's run has ended."""
    await card_paid(flow)
    (purchase,) = flow.shop.purchases.values()
    await flow.api.refund(RefundRequest("prf_1", purchase.id, "usr_operator", "1"))
    run = await flow.run_of(purchase)
    await run.result()
    return {"purchase_refunded": run}


async def disputed(flow: PurchaseFlow) -> Handles:
    """A dispute takes a payment back long after, and is won."""
    await card_paid(flow)
    (purchase,) = flow.shop.purchases.values()
    purchase.is_paid = False
    await (await flow.event(f"evt_lost_{purchase.id}", purchase.id)).result()
    run = await flow.run_of(purchase)
    await run.result()
    purchase.is_paid = True
    await (await flow.event(f"evt_won_{purchase.id}", purchase.id)).result()
    await (await flow.run_of(purchase)).result()
    return {"purchase_clawed_back": run}


async def quote_refused(flow: PurchaseFlow) -> Handles:
    flow.shop.is_refusing = True
    purchase_id = new_id(PURCHASE)
    flow.started.append(purchase_workflow_id(purchase_id))
    accepted = await flow.api.request(
        PurchaseRequest(purchase_id, "usr_buyer", "usr_buyer", purchase_id, "hash", "quo_1")
    )
    assert accepted.reason_code == "quote_expired"
    run = await flow.newest(purchase_workflow_id(purchase_id))
    await run.result()
    return {"purchase_refused": run}


async def chain_paid(flow: PurchaseFlow) -> Handles:
    """A deposit is credited, and its workflow has the purchase look."""
    flow.shop.method = PaymentMethod.CHAIN
    purchase = await flow.buy()
    run = await flow.run_of(purchase)
    purchase.is_paid = True
    await flow.notifier.deposits_moved([deposit_of(purchase.id)])
    await run.result()
    deposit = await flow.newest(deposit_workflow_id(deposit_of(purchase.id)))
    await deposit.result()
    return {"purchase_chain": run, "deposit_of_purchase": deposit}


async def chain_reversed(flow: PurchaseFlow) -> Handles:
    """A reorg takes the deposit long after."""
    await chain_paid(flow)
    (purchase,) = flow.shop.purchases.values()
    purchase.is_paid = False
    await flow.notifier.deposits_moved([deposit_of(purchase.id)])
    deposit = await flow.newest(deposit_workflow_id(deposit_of(purchase.id)))
    await deposit.result()
    run = await flow.run_of(purchase)
    await run.result()
    return {"purchase_reversed": run}


async def card_reviewed(flow: PurchaseFlow) -> Handles:
    """A dispute takes a payment back, and no webhook ever tells of it."""
    await card_paid(flow)
    (purchase,) = flow.shop.purchases.values()
    purchase.is_paid = False
    flow.shop.events[f"evt_untold_{purchase.id}"] = purchase.id
    handle = await flow.client.start_workflow(
        CardReviewWorkflow.run, id=CARD_REVIEW_ID, task_queue=WALLET_QUEUE
    )
    flow.started.append(CARD_REVIEW_ID)
    first = handle.first_execution_run_id

    async def is_over() -> bool:
        is_renewed = (await handle.describe()).run_id != first
        return is_renewed and purchase.status == PurchaseStatus.CLAWED_BACK

    await until(is_over)
    await (await flow.run_of(purchase)).result()
    return {"card_review": flow.client.get_workflow_handle(CARD_REVIEW_ID, run_id=first)}


async def rates_followed(flow: PurchaseFlow) -> Handles:
    handle = await flow.client.start_workflow(
        RatesWorkflow.run, id=RATES_WORKFLOW_ID, task_queue=WALLET_QUEUE
    )
    flow.started.append(RATES_WORKFLOW_ID)
    first = handle.first_execution_run_id

    async def is_renewed() -> bool:
        return (await handle.describe()).run_id != first

    await until(is_renewed)
    return {"rates": flow.client.get_workflow_handle(RATES_WORKFLOW_ID, run_id=first)}


PURCHASE_SCENARIOS: tuple[Scenario, ...] = (
    card_paid,
    card_rechecked,
    card_expired,
    card_given_up,
    card_refunded,
    disputed,
    quote_refused,
    chain_paid,
    chain_reversed,
    card_reviewed,
    rates_followed,
)
