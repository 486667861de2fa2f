"""Workflows on a real Temporal server, over fakes of everything they cause."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import (
    Interceptor,
    Worker,
)

from activities.chain import ChainActivities
from activities.deposits import DepositActivities
from activities.failures import FailureInterceptor
from activities.kyc import KycActivities
from activities.outgoing import OutgoingActivities
from activities.payouts import PayoutActivities
from activities.pockets import PocketActivities, PocketSpendActivities
from activities.runs import RunActivities
from activities.signing import SigningActivities
from activities.sweeps import SweepActivities
from activities.webhooks import WebhookActivities
from api.kyc_workflows import KycWorkflows
from api.payout_workflows import PayoutWorkflows
from api.pocket_workflows import PocketWorkflows
from api.run_workflows import RunWorkflows
from domain.deposits import DepositStanding
from domain.ids import DECISION, DEPOSIT, PAYOUT, new_id
from domain.kyc import KycDecisionKind, KycDecisionRequest, KycDowngradeRequest, KycStanding
from domain.payouts import Decision, DecisionKind, OperatorAction, PayoutOutcome, PayoutRequest
from domain.pockets import Route
from domain.runs import (
    RunAcceptance,
    RunCancellation,
    RunDecisionRequest,
    RunStanding,
    RunStart,
)
from domain.webhooks import DeliveryStanding
from domain.workflow_ids import (
    GATEWAYS_QUEUE,
    SIGNING_QUEUE,
    WALLET_QUEUE,
    WEBHOOK_DISPATCHER_ID,
    batcher_workflow_id,
    chain_queue,
    chain_transaction_workflow_id,
    deposit_workflow_id,
    kyc_workflow_id,
    payout_run_workflow_id,
    payout_workflow_id,
    sweep_workflow_id,
    watcher_workflow_id,
    webhook_delivery_workflow_id,
)
from infra.notifier import TemporalNotifier
from tests.support.fake_kyc import (
    APPLICANT,
    OWNER,
    REVIEWER,
    FakeApplication,
    FakeKycDesk,
)
from tests.support.fake_runs import REQUESTER, FakeRunDesk, upload
from tests.support.fake_sweeper import FakeSweeper
from tests.support.fake_webhooks import FakeWebhookDesk
from tests.support.fakes import (
    Books,
    FakeBatchSigner,
    FakeChain,
    FakeDeposit,
    FakeDepositDesk,
    FakeOutgoingLog,
    FakePayoutDesk,
    FakePocketDesk,
    FakePocketSpender,
    FakeRun,
)
from tests.support.pockets import transfer_request
from worker import WORKFLOWS, sandbox
from workflows.chain_transaction import ChainTransactionInput, ChainTransactionWorkflow
from workflows.chain_watcher import ChainWatcherWorkflow, WatcherInput
from workflows.deposit import DepositWorkflow
from workflows.kyc import KycApplicationWorkflow
from workflows.payout import PayoutWorkflow
from workflows.payout_batcher import BatcherInput, PayoutBatcherWorkflow
from workflows.payout_run import PayoutRunWorkflow
from workflows.pocket_transfer import PocketTransferWorkflow
from workflows.sweep import SweepInput, SweepWorkflow
from workflows.webhook_delivery import WebhookDeliveryWorkflow
from workflows.webhook_dispatcher import WebhookDispatcherWorkflow

CHAIN_ID = "eip155:31337"
WALLET_ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
DESTINATION = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
TIMEOUT_S = 20.0


@dataclass
class Flow:
    """Workers over one set of fakes, and the handles of what a test started."""

    environment: WorkflowEnvironment
    books: Books
    interceptors: tuple[Interceptor, ...] = ()
    cached_workflows: int = 1_000
    """0 makes the worker replay the whole history at every step."""
    started: list[WorkflowHandle[Any, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = self.environment.client
        self.api = PayoutWorkflows(self.client, timeout=timedelta(seconds=TIMEOUT_S))
        self.runs = RunWorkflows(self.client, timeout=timedelta(seconds=TIMEOUT_S))
        self.kyc = KycWorkflows(self.client, timeout=timedelta(seconds=TIMEOUT_S))
        self.payout_desk = FakePayoutDesk(self.books)
        self.run_desk = FakeRunDesk(self.books)
        self.chain = FakeChain(self.books)
        self.notifier = TemporalNotifier(self.client)

    def steps(self) -> dict[str, list[Callable[..., Any]]]:
        """Return the activities of each task queue."""
        log = FakeOutgoingLog(self.books)
        payouts = PayoutActivities(self.payout_desk, log)
        runs = RunActivities(self.run_desk, log)
        outgoing = OutgoingActivities(log, self.notifier)
        chain = ChainActivities(
            self.chain, self.chain, self.notifier, watch_interval=timedelta(milliseconds=20)
        )
        deposits = DepositActivities(FakeDepositDesk(self.books))
        kyc = KycActivities(FakeKycDesk(self.books.kyc))
        sweeps = SweepActivities(FakeSweeper(self.books, CHAIN_ID))
        webhooks = WebhookActivities(
            FakeWebhookDesk(self.books.webhooks),
            self.notifier,
            interval=timedelta(milliseconds=20),
        )
        spends = PocketSpendActivities(FakePocketSpender(self.books, CHAIN_ID))
        return {
            WALLET_QUEUE: [
                *_steps(payouts),
                *_steps(PocketActivities(FakePocketDesk(self.books))),
                *_steps(runs),
                *_steps(outgoing),
                *_steps(deposits),
                *_steps(kyc),
            ],
            GATEWAYS_QUEUE: _steps(webhooks),
            chain_queue(CHAIN_ID): [*_steps(chain), *_steps(sweeps), *_steps(spends)],
            SIGNING_QUEUE: _steps(SigningActivities(FakeBatchSigner(self.books))),
        }

    def _workers(self) -> list[Worker]:
        return [
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

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run the workers inside the block."""
        workers = self._workers()
        running = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            yield
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers))
            await asyncio.gather(*running)

    async def request(self, amount: str = "100") -> WorkflowHandle[PayoutWorkflow, PayoutOutcome]:
        """Ask for a payout as the API does, and return its workflow."""
        payout = payout_request(amount)
        await self.api.request(payout)
        return self.payout(payout.payout_id)

    async def transfer(
        self, route: Route, amount: str = "100", **converted: str
    ) -> WorkflowHandle[PocketTransferWorkflow, PayoutOutcome]:
        """Ask for a transfer to or from a pocket as the API does, and return its workflow."""
        destination = DESTINATION if route == Route.SEND else None
        request = transfer_request(
            route,
            amount,
            chain_id=CHAIN_ID,
            user_id="usr_requester",
            destination=destination,
            **converted,
        )
        await PocketWorkflows(self.client, timeout=timedelta(seconds=TIMEOUT_S)).request(request)
        handle: WorkflowHandle[PocketTransferWorkflow, PayoutOutcome]
        handle = self.client.get_workflow_handle_for(
            PocketTransferWorkflow.run, payout_workflow_id(request.payout_id)
        )
        self.started.append(handle)
        return handle

    def newest(self, handle: WorkflowHandle[Any, Any]) -> WorkflowHandle[Any, Any]:
        """Return a handle of a workflow's newest run."""
        return self.client.get_workflow_handle(handle.id)

    def payout(self, payout_id: str) -> WorkflowHandle[PayoutWorkflow, PayoutOutcome]:
        handle: WorkflowHandle[PayoutWorkflow, PayoutOutcome] = self.client.get_workflow_handle_for(
            PayoutWorkflow.run, payout_workflow_id(payout_id)
        )
        self.started.append(handle)
        return handle

    async def run_of(self, *amounts_minor: int) -> FakeRun:
        """Upload a run that pays these amounts, and start it as the API does."""
        run = upload(self.books, *amounts_minor)
        acceptance = await self.start_run(run)
        assert acceptance.reason_code is None, acceptance.reason
        return run

    async def start_run(self, run: FakeRun, *, key: str = "key") -> RunAcceptance:
        self.run(run)
        return await self.runs.start(
            RunStart(run.id, REQUESTER, key), user_id=REQUESTER, asset="ETH"
        )

    def run(self, run: FakeRun) -> WorkflowHandle[PayoutRunWorkflow, RunStanding]:
        """Return the workflow of a run, whichever of its executions is the newest."""
        handle: WorkflowHandle[PayoutRunWorkflow, RunStanding] = (
            self.client.get_workflow_handle_for(
                PayoutRunWorkflow.run, payout_run_workflow_id(run.id)
            )
        )
        self.started.append(handle)
        return handle

    async def execution_of(self, run: FakeRun) -> WorkflowHandle[PayoutRunWorkflow, RunStanding]:
        """Return the execution of a run's workflow that is the newest one now."""
        newest = await self.run(run).describe()
        return self.client.get_workflow_handle_for(
            PayoutRunWorkflow.run, newest.id, run_id=newest.run_id
        )

    async def decide_run(
        self,
        run: FakeRun,
        approver_id: str,
        *,
        kind: DecisionKind = DecisionKind.APPROVE,
        lines: str | None = None,
    ) -> RunStanding:
        return await self.runs.decide(run_decision(run, approver_id, kind=kind, lines=lines))

    async def cancel_run(self, run: FakeRun, *, lines: str | None = None) -> RunStanding:
        return await self.runs.cancel(RunCancellation(new_id("act"), run.id, lines))

    async def resume_run(self, run: FakeRun) -> None:
        key = run.idempotency_key or ""
        await self.runs.resume(RunStart(run.id, REQUESTER, key), user_id=REQUESTER, asset="ETH")

    async def start_batcher(self) -> WorkflowHandle[PayoutBatcherWorkflow, None]:
        handle = await self.client.start_workflow(
            PayoutBatcherWorkflow.run,
            BatcherInput(CHAIN_ID, WALLET_ADDRESS),
            id=batcher_workflow_id(CHAIN_ID, WALLET_ADDRESS),
            task_queue=WALLET_QUEUE,
        )
        self.started.append(handle)
        return handle

    async def start_watcher(self) -> WorkflowHandle[ChainWatcherWorkflow, None]:
        handle = await self.client.start_workflow(
            ChainWatcherWorkflow.run,
            WatcherInput(CHAIN_ID),
            id=watcher_workflow_id(CHAIN_ID),
            task_queue=WALLET_QUEUE,
        )
        self.started.append(handle)
        return handle

    async def start_sweeps(self) -> WorkflowHandle[SweepWorkflow, None]:
        handle = await self.client.start_workflow(
            SweepWorkflow.run,
            SweepInput(CHAIN_ID),
            id=sweep_workflow_id(CHAIN_ID),
            task_queue=WALLET_QUEUE,
        )
        self.started.append(handle)
        return handle

    async def start_dispatcher(self) -> WorkflowHandle[WebhookDispatcherWorkflow, None]:
        handle = await self.client.start_workflow(
            WebhookDispatcherWorkflow.run, id=WEBHOOK_DISPATCHER_ID, task_queue=WALLET_QUEUE
        )
        self.started.append(handle)
        return handle

    def webhook(
        self, delivery_id: str
    ) -> WorkflowHandle[WebhookDeliveryWorkflow, DeliveryStanding]:
        """Return the workflow of a delivery, which the dispatcher started."""
        handle: WorkflowHandle[WebhookDeliveryWorkflow, DeliveryStanding] = (
            self.client.get_workflow_handle_for(
                WebhookDeliveryWorkflow.run, webhook_delivery_workflow_id(delivery_id)
            )
        )
        self.started.append(handle)
        return handle

    async def arrive(self) -> FakeDeposit:
        """Let a deposit arrive, and its workflow start, as the watcher does it."""
        deposit = FakeDeposit(new_id(DEPOSIT))
        self.books.deposits[deposit.id] = deposit
        await self.notifier.deposits_moved([deposit.id])
        return deposit

    async def deposit_run(
        self, deposit: FakeDeposit
    ) -> WorkflowHandle[DepositWorkflow, DepositStanding]:
        """Return the newest run of a deposit's workflow."""
        workflow_id = deposit_workflow_id(deposit.id)
        newest = await self.client.get_workflow_handle(workflow_id).describe()
        handle: WorkflowHandle[DepositWorkflow, DepositStanding] = (
            self.client.get_workflow_handle_for(
                DepositWorkflow.run, workflow_id, run_id=newest.run_id
            )
        )
        self.started.append(handle)
        return handle

    async def apply(
        self, level: int = 1, *, documents_expire_at: datetime | None = None
    ) -> FakeApplication:
        """Apply for a level as the API does."""
        application = self.books.kyc.apply(level, documents_expire_at=documents_expire_at)
        await self.kyc.accept(application.id, user_id=APPLICANT)
        return application

    def application(
        self, application: FakeApplication
    ) -> WorkflowHandle[KycApplicationWorkflow, KycStanding]:
        """Return the workflow of an application, whichever of its executions is the newest."""
        handle: WorkflowHandle[KycApplicationWorkflow, KycStanding] = (
            self.client.get_workflow_handle_for(
                KycApplicationWorkflow.run, kyc_workflow_id(application.id)
            )
        )
        self.started.append(handle)
        return handle

    async def review(
        self,
        application: FakeApplication,
        kind: KycDecisionKind = KycDecisionKind.APPROVE,
        *,
        by: str = REVIEWER,
    ) -> KycStanding:
        decision = KycDecisionRequest(
            new_id(DECISION), application.id, by, kind, application.revision, "totp", "a note"
        )
        return await self.kyc.decide(decision, user_id=APPLICANT)

    async def downgrade(self, application: FakeApplication, level: int = 0) -> KycStanding:
        request = KycDowngradeRequest(
            new_id(DECISION), application.id, OWNER, level, "a reason", "totp"
        )
        return await self.kyc.downgrade(request, user_id=APPLICANT)

    async def skip(self, handle: WorkflowHandle[Any, Any], step: timedelta) -> None:
        """Let so much time pass, for a workflow and for the books."""
        self.books.clock.advance(step)
        await self.environment.fast_forward(handle, step + timedelta(minutes=2))

    async def start_batch(self) -> WorkflowHandle[ChainTransactionWorkflow, None]:
        """Claim what is ready, without a batcher, and start the batch's workflow."""
        batch_id = await FakeOutgoingLog(self.books).claim(
            chain_id=CHAIN_ID, wallet_address=WALLET_ADDRESS, claim_key=new_id("claim")
        )
        assert batch_id is not None
        handle = await self.client.start_workflow(
            ChainTransactionWorkflow.run,
            ChainTransactionInput(batch_id, CHAIN_ID),
            id=chain_transaction_workflow_id(batch_id),
            task_queue=WALLET_QUEUE,
        )
        self.started.append(handle)
        return handle

    def batch_workflow(self) -> WorkflowHandle[ChainTransactionWorkflow, None]:
        """Return the workflow of the only batch."""
        (batch_id,) = self.books.batches
        return self.client.get_workflow_handle_for(
            ChainTransactionWorkflow.run, chain_transaction_workflow_id(batch_id)
        )

    async def confirm(self) -> None:
        """Mine what was sent, and tell its batches."""
        await self.notifier.batches_moved(self.chain.mine())

    async def decide(
        self, payout_id: str, approver_id: str, kind: DecisionKind = DecisionKind.APPROVE
    ) -> None:
        await self.api.decide(decision_on(payout_id, approver_id, kind=kind))

    async def clean_up(self) -> None:
        """Terminate what still runs: the next test serves the same queues."""
        for batch_id in self.books.batches:
            workflow_id = chain_transaction_workflow_id(batch_id)
            self.started.append(self.client.get_workflow_handle(workflow_id))
        for application_id in self.books.kyc.applications:
            self.started.append(self.client.get_workflow_handle(kyc_workflow_id(application_id)))
        for handle in self.started:
            # Terminate the newest run, whichever one the handle was made for.
            latest = self.client.get_workflow_handle(handle.id)
            try:
                await latest.terminate("the test is over")
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND:
                    raise


@asynccontextmanager
async def flow_on(
    environment: WorkflowEnvironment,
    books: Books,
    *interceptors: Interceptor,
    cached_workflows: int = 1_000,
) -> AsyncIterator[Flow]:
    """Yield running workers over these books; nothing runs any more afterwards."""
    flow = Flow(environment, books, interceptors, cached_workflows)
    async with flow.working():
        try:
            yield flow
        finally:
            await flow.clean_up()


def payout_request(amount: str = "100", *, payout_id: str = "") -> PayoutRequest:
    chosen = payout_id or new_id(PAYOUT)
    return PayoutRequest(
        payout_id=chosen,
        user_id="usr_requester",
        principal="usr_requester",
        idempotency_key=chosen,
        request_hash=f"hash of {amount}",
        asset="ETH",
        amount=amount,
        destination=DESTINATION,
    )


def decision_on(
    payout_id: str, approver_id: str, *, kind: DecisionKind = DecisionKind.APPROVE
) -> Decision:
    return Decision(new_id(DECISION), payout_id, approver_id, kind, "totp")


def run_decision(
    run: FakeRun,
    approver_id: str,
    *,
    kind: DecisionKind = DecisionKind.APPROVE,
    lines: str | None = None,
) -> RunDecisionRequest:
    return RunDecisionRequest(new_id(DECISION), run.id, approver_id, kind, "totp", lines)


def operator_on(run: FakeRun, number: int) -> OperatorAction:
    """Return an operator's word on one line."""
    return OperatorAction(run.lines[number].request.payout_id, "usr_operator", run_id=run.id)


async def until(holds: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, or fail."""
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    while True:
        verdict = holds()
        if (await verdict) if isinstance(verdict, Awaitable) else verdict:
            return
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.02)


async def events_of(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """Return the types of a workflow's history events, in order."""
    history = await handle.fetch_history()
    return [EventType.Name(e.event_type).removeprefix("EVENT_TYPE_") for e in history.events]


def _steps(collaborator: object) -> list[Callable[..., Any]]:
    methods = [getattr(collaborator, name) for name in dir(collaborator) if name[0] != "_"]
    return [m for m in methods if hasattr(m, "__temporal_activity_definition")]
