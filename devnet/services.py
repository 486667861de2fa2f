"""What the stack consists of, and how each of our own processes is started and found ready."""

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus

import httpx

from devnet.environments import (
    api_environment,
    base_environment,
    jobcoin_environment,
    migration_environment,
    rates_environment,
    signer_environment,
    stripe_environment,
    worker_environment,
)
from devnet.ports import LOOPBACK
from devnet.site import EVM_CHAIN_ID, PROJECT_DIR, Site
from devnet.supervisor import ManagedProcess, run_to_end
from devnet.temporal import is_polled
from devnet.utxo_node import UtxoNode
from domain.workflow_ids import SIGNING_QUEUE, WALLET_QUEUE

_TIMEOUT_S = 3.0


class Service(StrEnum):
    """A part of the stack that can be left out."""

    POSTGRES = "postgres"
    TEMPORAL = "temporal"
    EVM = "evm"
    BITCOIN = "bitcoin"
    LITECOIN = "litecoin"
    JOBCOIN = "jobcoin"
    STRIPE = "stripe"
    RATES = "rates"
    MIGRATIONS = "migrations"
    SIGNER = "signer"
    WORKER = "worker"
    API = "api"


SERVERS = frozenset(
    {
        Service.POSTGRES,
        Service.TEMPORAL,
        Service.EVM,
        Service.BITCOIN,
        Service.LITECOIN,
        Service.JOBCOIN,
        Service.STRIPE,
        Service.RATES,
    }
)
"""What is not ours, and what ours need."""

PORTS_OF: Mapping[Service, tuple[str, ...]] = {
    Service.POSTGRES: ("postgres",),
    Service.TEMPORAL: ("temporal", "temporal_ui"),
    Service.EVM: ("evm",),
    Service.BITCOIN: ("bitcoin",),
    Service.LITECOIN: ("litecoin",),
    Service.JOBCOIN: ("jobcoin",),
    Service.STRIPE: ("stripe",),
    Service.RATES: ("rates",),
    Service.API: ("api",),
    Service.WORKER: ("metrics",),
    Service.SIGNER: ("metrics",),
}


def evm_process(site: Site, *, block_time_s: str | None) -> ManagedProcess:
    """Return the EVM node's process; the first time ever this fetches the node, so use a thread."""
    from devnet.evm_node import EvmNode  # noqa: PLC0415 - fetches and unpacks: only where wanted

    node = EvmNode(
        site.state_dir.resolve() / "evm",
        site.ports.evm,
        block_time_s=block_time_s,
        chain_id=EVM_CHAIN_ID,
        log=site.log_path("evm"),
    )
    return ManagedProcess(
        "evm",
        node.command(),
        env=base_environment(),
        log_path=site.log_path("evm"),
        pid_path=site.pid_path("evm"),
        ready=lambda _pid: asyncio.to_thread(node.is_ready),
        pre_start=node.prepare_state,
        on_tick=node.keep_good_copy,
        stop_signal=signal.SIGINT,
    )


def bitcoin_process(site: Site) -> ManagedProcess:
    """Return the Bitcoin node's process: ``bitcoind``, or else our development node."""
    from devnet.bitcoin_daemon import bitcoin_node  # noqa: PLC0415 - only where wanted

    folder = site.state_dir.resolve() / "bitcoin"
    node = bitcoin_node(folder, site.ports.bitcoin, password=site.secrets.bitcoin_rpc_password)
    return _utxo_process(site, "bitcoin", node)


def litecoin_process(site: Site) -> ManagedProcess:
    """Return the Litecoin node's process; the first time ever this fetches it, so use a thread."""
    from devnet.litecoin_node import litecoin_node  # noqa: PLC0415 - only where wanted

    folder = site.state_dir.resolve() / "litecoin"
    node = litecoin_node(folder, site.ports.litecoin, password=site.secrets.litecoin_rpc_password)
    return _utxo_process(site, "litecoin", node)


def jobcoin_process(site: Site, *, block_time_s: str) -> ManagedProcess:
    """Return the Jobcoin node's process; it keeps its chain in the migrated database."""
    program = ["-m", "chains.jobcoin.node"]
    env = jobcoin_environment(site, block_time_s=block_time_s)
    return _small_server(site, "jobcoin", program, url=site.jobcoin_url, env=env)


def stripe_process(site: Site) -> ManagedProcess:
    """Return the Stripe-like server's process; it keeps what it knows, and tells the API."""
    arguments = ["--port", str(site.ports.stripe), "--webhook", f"{site.api_url}/v1/stripe/webhook"]
    arguments += ["--file", str(site.state_dir.resolve() / "stripe.json")]
    program = ["-m", "devnet.stripe_server", *arguments]
    return _small_server(site, "stripe", program, url=site.stripe_url, env=stripe_environment(site))


def rates_process(site: Site) -> ManagedProcess:
    """Return the process of the server of market prices."""
    program = ["-m", "devnet.rate_server", "--port", str(site.ports.rates)]
    return _small_server(site, "rates", program, url=site.rates_url, env=rates_environment())


def worker_name(queues: Sequence[str | None], index: int) -> str:
    """Return the name of one of several workers: its queue's, and a number if it is not alone."""
    queue = queues[index]
    base = "worker" if queue is None else f"worker-{queue}"
    earlier = queues[:index].count(queue)
    return f"{base}-{earlier + 1}" if earlier else base


def worker_process(
    site: Site, name: str, *, queue: str | None, metrics_port: int
) -> ManagedProcess:
    """Return a worker's process, for one queue or for all but signing."""
    polled = queue or WALLET_QUEUE
    return _python_process(
        site,
        name,
        ["-m", "worker", *(["--task-queue", queue] if queue else [])],
        env=worker_environment(site, metrics_port=metrics_port),
        polled=polled,
    )


def signer_process(site: Site, *, metrics_port: int) -> ManagedProcess:
    """Return the signer's process."""
    return _python_process(
        site,
        "signer",
        ["-m", "worker", "--task-queue", SIGNING_QUEUE],
        env=signer_environment(site, metrics_port=metrics_port),
        polled=SIGNING_QUEUE,
    )


def api_process(site: Site) -> ManagedProcess:
    """Return the API's process; ready when it says so, which asks the database and Temporal."""
    server = ["-m", "uvicorn", "--factory", "api.app:create_app", "--no-access-log"]
    # Streams of confirmations would keep it from stopping.
    server += ["--timeout-graceful-shutdown", "5"]
    # What is said over a websocket is short.
    server += ["--ws-max-size", "65536"]
    return ManagedProcess(
        "api",
        [sys.executable, *server, "--host", LOOPBACK, "--port", str(site.ports.api)],
        env=api_environment(site),
        log_path=site.log_path("api"),
        pid_path=site.pid_path("api"),
        cwd=site.code_dir,
        ready=lambda _pid: _answers(f"{site.api_url}/ready"),
    )


async def migrate(site: Site) -> None:
    """
    Bring the schema up to date and set the roles' passwords.

    Raises:
        ProcessFailedError: The migration job ended with an error.
    """
    await run_to_end(
        "migrations",
        [sys.executable, "-m", "migrations"],
        env=migration_environment(site),
        log_path=site.log_path("migrations"),
        cwd=site.code_dir,
    )


def _utxo_process(site: Site, name: str, node: UtxoNode) -> ManagedProcess:
    return ManagedProcess(
        name,
        node.command(),
        env=node.env,
        log_path=site.log_path(name),
        pid_path=site.pid_path(name),
        cwd=node.cwd,
        ready=lambda _pid: asyncio.to_thread(node.is_ready),
        pre_start=node.prepare,
        on_tick=node.flush,
    )


def _small_server(
    site: Site, name: str, program: list[str], *, url: str, env: Mapping[str, str]
) -> ManagedProcess:
    return ManagedProcess(
        name,
        [sys.executable, *program],
        env=env,
        log_path=site.log_path(name),
        pid_path=site.pid_path(name),
        # First on the import path under -m, also where the project is installed as a wheel.
        cwd=PROJECT_DIR,
        ready=lambda _pid: _answers(f"{url}/_ready"),
    )


def _python_process(
    site: Site, name: str, arguments: list[str], *, env: Mapping[str, str], polled: str
) -> ManagedProcess:
    return ManagedProcess(
        name,
        [sys.executable, *arguments],
        env=env,
        log_path=site.log_path(name),
        pid_path=site.pid_path(name),
        # First on the import path under -m, also where the project is installed as a wheel.
        cwd=site.code_dir,
        ready=lambda pid: is_polled(site, polled, pid=pid),
    )


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            return (await client.get(url)).status_code == HTTPStatus.OK
    except httpx.HTTPError:
        return False
