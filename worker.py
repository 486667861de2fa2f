"""
Composition root of every worker process: ``python worker.py [--task-queue NAME]``.

Queues are split by trust and by downstream. ``wallet`` runs workflows and database steps,
``chain-…`` asks nodes, ``gateways`` asks services that are no chain, ``signing`` alone holds keys.
Without the option one process serves every queue but ``signing``, which it adds when it is given
the wallets' keys.
"""

import argparse
import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Interceptor, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.chain import ChainActivities
from activities.deposits import DepositActivities
from activities.failures import FailureInterceptor
from activities.heartbeats import HeartbeatInterceptor
from activities.kyc import KycActivities
from activities.mixing import MixerCheckActivities, MixNewsActivities
from activities.outgoing import OutgoingActivities
from activities.payouts import PayoutActivities
from activities.pockets import PocketActivities, PocketSpendActivities
from activities.purchases import (
    CardActivities,
    CardReviewActivities,
    PurchaseActivities,
    RateActivities,
)
from activities.runs import RunActivities
from activities.signing import SigningActivities
from activities.sweeps import SweepActivities
from activities.webhooks import WebhookActivities
from chains.jobcoin.outlet import JobcoinOutlet
from chains.registry import open_outlet
from chains.utxo.outlet import CoinOutlet
from deposits.desk import PostgresDepositDesk
from domain.clock import SystemClock
from domain.kyc import KycTerms
from domain.pocket_ports import PocketSpender
from domain.ports import AddressScreener, ChainOutlet, Sweeper
from domain.screening import ANSWER_GOOD_FOR, RUN_ANSWER_GOOD_FOR
from domain.workflow_ids import (
    GATEWAYS_QUEUE,
    MIXER_QUEUES,
    SIGNING_QUEUE,
    WALLET_QUEUE,
    chain_queue,
)
from gateways.rates.desk import PostgresRateDesk
from gateways.rates.http_source import HttpRateSource, open_sources
from gateways.stripe.client import StripeGateway
from gateways.stripe.desk import PostgresCardDesk
from gateways.stripe.review import PostgresCardReview
from infra import temporal
from infra.database import Database
from infra.keyring import Keyring
from infra.notifier import TemporalNotifier
from infra.processes import run_and_exit, stop_on_signals
from infra.settings import SignerSettings, WorkerSettings
from kyc.desk import PostgresKycDesk
from models.wallets import Chain
from outgoing.account_planner import AccountPlanner
from outgoing.coin_planner import CoinPlanner
from outgoing.log import PostgresOutgoingLog
from outgoing.runner import Planner, PostgresChainRunner
from payouts.desk import PostgresPayoutDesk
from payouts.liveness import beat
from payouts.screening import PostgresScreener
from pockets.coin_spending import CoinPocketSpender
from pockets.desk import PostgresPocketDesk
from pockets.spending import AccountPocketSpender
from purchases.desk import PostgresPurchaseDesk
from runs.desk import PostgresRunDesk
from signing.signer import PostgresBatchSigner
from signing.vault import KeyVault
from sweeps.accounts import AccountSweeper
from sweeps.coins import CoinSweeper
from watcher.balances import BalanceReconciler
from watcher.fates import AccountFates, CoinFates, FateReader
from watcher.watch import PostgresChainWatch
from webhooks.desk import PostgresWebhookDesk
from webhooks.sender import WebhookSender
from wiring.endless import RETRY_S, ensure_running, known_chains
from wiring.mixing import MixerServing, mix_desk, mixer_checks
from workflows.card_review import CardReviewWorkflow
from workflows.chain_transaction import ChainTransactionWorkflow
from workflows.chain_watcher import ChainWatcherWorkflow
from workflows.deposit import DepositWorkflow
from workflows.gateway_event import GatewayEventWorkflow
from workflows.kyc import KycApplicationWorkflow
from workflows.mix import MixWorkflow
from workflows.mixer_check import MixerCheckWorkflow
from workflows.payout import PayoutWorkflow
from workflows.payout_batcher import PayoutBatcherWorkflow
from workflows.payout_run import PayoutRunWorkflow
from workflows.pocket_transfer import PocketTransferWorkflow
from workflows.purchase import PurchaseWorkflow
from workflows.rates import RatesWorkflow
from workflows.sweep import SweepWorkflow
from workflows.webhook_delivery import WebhookDeliveryWorkflow
from workflows.webhook_dispatcher import WebhookDispatcherWorkflow

WORKFLOWS = (
    PayoutWorkflow,
    PayoutRunWorkflow,
    PayoutBatcherWorkflow,
    ChainTransactionWorkflow,
    ChainWatcherWorkflow,
    DepositWorkflow,
    SweepWorkflow,
    PurchaseWorkflow,
    GatewayEventWorkflow,
    CardReviewWorkflow,
    RatesWorkflow,
    PocketTransferWorkflow,
    WebhookDispatcherWorkflow,
    WebhookDeliveryWorkflow,
    KycApplicationWorkflow,
    MixWorkflow,
    MixerCheckWorkflow,
)

INTERCEPTORS: list[Interceptor] = [HeartbeatInterceptor(), FailureInterceptor()]
"""What every activity of this process runs inside of."""

GRACE = timedelta(seconds=10)
"""Work in hand may finish for this long after SIGTERM."""

CLOCK = SystemClock()

logger = logging.getLogger("worker")

TASKS_AT_ONCE = 20
"""
Workflow tasks that a process has at once, most with one unit of work on the database.

What it takes it has to end within ten seconds, or the server gives it out again and the work was
for nothing. A hundred, the SDK's own number, are more than one interpreter ends in time where a
thousand workflows wake up at once, and than there are connections.
"""


@dataclass
class Process:
    """What one worker process holds open."""

    client: Client
    database: Database
    workers: list[Worker] = field(default_factory=list)
    outlets: list[ChainOutlet] = field(default_factory=list)
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What else is closed at the end."""
    mixers: MixerServing | None = None
    """Serves mixers, where mixing is on."""


def sandbox() -> SandboxedWorkflowRunner:
    """Sandbox workflow modules; what they import is plain and passes through."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            "activities", "domain", "eth_utils", "ulid"
        )
    )


def screening_provider() -> AddressScreener | None:
    """Return who is asked about addresses that our own list does not have: nobody, as shipped."""
    return None


def screener(process: Process, *, good_for: timedelta = ANSWER_GOOD_FOR) -> PostgresScreener | None:
    """Return what asks the provider and keeps its answers; None where there is no provider."""
    provider = screening_provider()
    if provider is None:
        return None
    return PostgresScreener(process.database, provider, clock=CLOCK, good_for=good_for)


def wallet_worker(
    process: Process,
    *,
    queue: str = WALLET_QUEUE,
    kyc_terms: KycTerms | None = None,
    checks: MixerCheckActivities | None = None,
) -> Worker:
    """Serve workflows and the steps that are one unit of work on the database."""
    log = PostgresOutgoingLog(process.database, CLOCK)
    payouts = payout_steps(process)
    run_screener = screener(process, good_for=RUN_ANSWER_GOOD_FOR)
    runs = RunActivities(PostgresRunDesk(process.database, CLOCK, run_screener), log)
    notifier = TemporalNotifier(process.client)
    outgoing = OutgoingActivities(log, notifier)
    deposits = DepositActivities(PostgresDepositDesk(process.database, CLOCK))
    purchases = PurchaseActivities(PostgresPurchaseDesk(process.database, CLOCK), notifier)
    pockets = PocketActivities(PostgresPocketDesk(process.database, CLOCK, screener(process)))
    return Worker(
        process.client,
        task_queue=queue,
        workflows=WORKFLOWS,
        activities=[
            payouts.freeze,
            payouts.decide,
            payouts.cancel,
            payouts.expire,
            payouts.outcome,
            payouts.refund_unsigned,
            payouts.retry_abandoned,
            runs.start,
            runs.decide,
            runs.cancel,
            runs.expire,
            runs.advance,
            runs.refund_line,
            runs.retry_line,
            outgoing.await_batch,
            outgoing.allocate,
            outgoing.give_up_refused,
            outgoing.settle,
            outgoing.notify,
            deposits.advance,
            purchases.open,
            purchases.advance,
            purchases.cancel,
            purchases.request_refund,
            purchases.tell,
            MixNewsActivities(notifier).tell,
            pockets.freeze,
            pockets.make_ready,
            *kyc_steps(process, kyc_terms or KycTerms()),
            *((checks.check,) if checks else ()),
        ],
        workflow_runner=sandbox(),
        interceptors=INTERCEPTORS,
        graceful_shutdown_timeout=GRACE,
        max_concurrent_activities=50,
        max_concurrent_workflow_tasks=TASKS_AT_ONCE,
        max_concurrent_local_activities=TASKS_AT_ONCE,
    )


def kyc_steps(process: Process, terms: KycTerms) -> list[Callable[..., object]]:
    """Return the steps of KYC applications."""
    kyc = KycActivities(PostgresKycDesk(process.database, CLOCK, terms=terms))
    return [kyc.advance, kyc.decide, kyc.supply, kyc.withdraw, kyc.downgrade]


def chain_worker(process: Process, chain: Chain, settings: WorkerSettings) -> Worker:
    """Serve the steps that ask this chain's nodes."""
    outlet = open_outlet(chain.id, chain.family, settings.rpc_urls[chain.id])
    process.outlets.append(outlet)
    planner: Planner
    fates: FateReader
    sweeper: Sweeper
    spender: PocketSpender
    balances: BalanceReconciler | None = None
    if isinstance(outlet, CoinOutlet):
        planner, fates = CoinPlanner(process.database, outlet, CLOCK), CoinFates()
        sweeper = CoinSweeper(process.database, outlet, CLOCK)
        spender = CoinPocketSpender(process.database, outlet, CLOCK)
    else:
        planner = AccountPlanner(process.database, outlet, CLOCK)
        sweeper = AccountSweeper(process.database, outlet, CLOCK)
        spender = AccountPocketSpender(process.database, outlet, CLOCK)
        if isinstance(outlet, JobcoinOutlet):
            # What was signed is what is done, or it is not mined.
            fates = CoinFates()
        else:
            fates = AccountFates(outlet)
            balances = BalanceReconciler(process.database, outlet, CLOCK)
    sweeps = SweepActivities(sweeper)
    spends = PocketSpendActivities(spender)
    steps = ChainActivities(
        PostgresChainRunner(process.database, outlet, planner, CLOCK, screener=screener(process)),
        PostgresChainWatch(process.database, outlet, fates, CLOCK, balances=balances),
        TemporalNotifier(process.client),
        watch_interval=settings.watch_interval,
    )
    return Worker(
        process.client,
        task_queue=chain_queue(chain.id),
        activities=[
            steps.prepare,
            steps.broadcast,
            steps.plan_bumps,
            steps.watch,
            sweeps.plan,
            spends.advance,
        ],
        interceptors=INTERCEPTORS,
        graceful_shutdown_timeout=GRACE,
        max_concurrent_activities=20,
    )


def gateways_worker(process: Process, settings: WorkerSettings) -> Worker:
    """Serve the steps that ask the payment gateway, sources of rates, and users' webhooks."""
    gateway: StripeGateway | None = None
    if settings.stripe_api_key:
        gateway = StripeGateway(
            settings.stripe_api_key.get_secret_value(), base_url=settings.stripe_api_url
        )
        process.closers.append(gateway.close)
    sources: list[HttpRateSource] = []
    if settings.rate_sources:
        sources, close = open_sources(settings.rate_sources.get_secret_value(), CLOCK)
        process.closers.append(close)
    cards = CardActivities(
        PostgresCardDesk(process.database, gateway, CLOCK), TemporalNotifier(process.client)
    )
    every = settings.stripe_review_interval
    reviews = CardReviewActivities(
        cards, PostgresCardReview(process.database, gateway, CLOCK, grace=every), interval=every
    )
    rates = RateActivities(
        PostgresRateDesk(process.database, sources), interval=settings.rate_interval
    )
    desk = PostgresWebhookDesk(
        process.database,
        CLOCK,
        Keyring.parse(settings.webhook_keys.get_secret_value()),
        sender=WebhookSender(allows_loopback=settings.webhook_loopback),
    )
    webhooks = WebhookActivities(desk, TemporalNotifier(process.client))
    return Worker(
        process.client,
        task_queue=GATEWAYS_QUEUE,
        activities=[
            cards.create_intent,
            cards.sync,
            cards.cancel_intent,
            cards.refund,
            cards.handle_event,
            reviews.review,
            rates.follow,
            webhooks.dispatch,
            webhooks.attempt,
        ],
        interceptors=INTERCEPTORS,
        graceful_shutdown_timeout=GRACE,
        # Twice what webhooks may keep busy at once (``webhooks.desk.IN_ALL_MAX``): who receives
        # them slowly must not keep card payments and rates waiting.
        max_concurrent_activities=50,
    )


async def signing_worker(process: Process, settings: SignerSettings) -> Worker:
    """Serve the signing queue, after seeing to it that each chain has a hot wallet."""
    vault = KeyVault(process.database, Keyring.parse(settings.wallet_keys.get_secret_value()))
    for chain in await known_chains(process.database):
        address = await vault.ensure_primary_wallet(chain.id)
        logger.info("hot wallet of %s is %s", chain.id, address)
    steps = SigningActivities(PostgresBatchSigner(process.database, vault, CLOCK))
    return Worker(
        process.client,
        task_queue=SIGNING_QUEUE,
        activities=[steps.sign_batch],
        interceptors=INTERCEPTORS,
        graceful_shutdown_timeout=GRACE,
        max_concurrent_activities=4,
    )


async def connected(settings: WorkerSettings | SignerSettings) -> Client:
    """Return a client, waiting for Temporal as long as it takes."""
    while True:
        try:
            return await temporal.connect(
                address=settings.temporal_address,
                namespace=settings.temporal_namespace,
                codec_keys=settings.codec_keys.get_secret_value(),
                metrics_address=settings.metrics_address,
            )
        except (RPCError, RuntimeError) as error:
            logger.info("waiting for Temporal at %s: %s", settings.temporal_address, error)
            await asyncio.sleep(RETRY_S)


def opened(settings: WorkerSettings | SignerSettings) -> Database:
    """Return the database as this process's role."""
    url = settings.database_url.get_secret_value()
    return Database(url, pool_size=settings.database_pool_size)


async def serve(queue: str | None) -> int:
    """Serve one queue, or all but signing, until told to stop."""
    stop = stop_on_signals()
    is_signer = queue == SIGNING_QUEUE
    settings = SignerSettings() if is_signer else WorkerSettings()
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    process = Process(await connected(settings), opened(settings))
    if isinstance(settings, SignerSettings):
        process.workers.append(await signing_worker(process, settings))
    else:
        await _add_wallet_workers(process, settings, queue)
    role = SIGNING_QUEUE if is_signer else queue or WALLET_QUEUE
    await _run_until(stop, process, role=role)
    for close in (*(outlet.close for outlet in process.outlets), *process.closers):
        await close()
    await process.database.close()
    return 0


async def _add_wallet_workers(
    process: Process, settings: WorkerSettings, queue: str | None
) -> None:
    if queue in (None, WALLET_QUEUE):
        checks = None
        if settings.mixer_enabled:
            checks = mixer_checks(process.database, settings, clock=CLOCK)
        terms = _kyc_terms(settings)
        process.workers.append(wallet_worker(process, kyc_terms=terms, checks=checks))
    if queue in (None, GATEWAYS_QUEUE):
        process.workers.append(gateways_worker(process, settings))
    for chain in await known_chains(process.database):
        is_wanted = queue in (None, chain_queue(chain.id))
        if is_wanted and chain.id not in settings.rpc_urls:
            logger.warning("no node of %s is set: this process does not serve it", chain.id)
        elif is_wanted:
            process.workers.append(chain_worker(process, chain, settings))
    is_mixer = queue is not None and queue.startswith(MIXER_QUEUES)
    if settings.mixer_enabled and (queue is None or is_mixer):
        process.mixers = _mixer_serving(process, settings, queue)
    if not process.workers and process.mixers is None:
        msg = f"There is no task queue {queue!r}."
        raise SystemExit(msg)


def _mixer_serving(process: Process, settings: WorkerSettings, queue: str | None) -> MixerServing:
    desk = mix_desk(process.database, settings, clock=CLOCK, screener=screener(process))
    payouts = payout_steps(process)
    return MixerServing(
        process.client, desk, payouts, process.database, sandbox, INTERCEPTORS, GRACE, only=queue
    )


def payout_steps(process: Process) -> PayoutActivities:
    """Return the steps of payouts."""
    log = PostgresOutgoingLog(process.database, CLOCK)
    return PayoutActivities(PostgresPayoutDesk(process.database, CLOCK, screener(process)), log)


def _kyc_terms(settings: WorkerSettings) -> KycTerms:
    return KycTerms(
        remind_every=settings.kyc_remind_every,
        review_within=settings.kyc_review_within,
        inform_within=settings.kyc_inform_within,
    )


async def _run_until(stop: asyncio.Event, process: Process, *, role: str) -> None:
    """Run the workers; end when told to, or when one of them fails for good."""
    running = [asyncio.create_task(worker.run()) for worker in process.workers]
    background = [asyncio.create_task(beat(process.database, role, CLOCK))]
    if role != SIGNING_QUEUE:
        endless = ensure_running(process.client, process.database, mixes=process.mixers is not None)
        background.append(asyncio.create_task(endless))
    if process.mixers is not None:
        running.append(asyncio.create_task(process.mixers.run(stop)))
    stopped = asyncio.create_task(stop.wait())
    logger.info("serving %s", ", ".join(worker.task_queue for worker in process.workers))
    await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await asyncio.gather(*(worker.shutdown() for worker in process.workers))
    for task in (*background, stopped):
        task.cancel()
    await asyncio.gather(*running)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--task-queue", help="serve this queue alone: wallet, gateways, signing, chain-… or mixer-…"
    )
    arguments = parser.parse_args()
    run_and_exit(lambda: serve(arguments.task_queue))


if __name__ == "__main__":
    main()
