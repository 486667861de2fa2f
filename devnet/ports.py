"""Ports of the local stack: defaults, free ones for tests, and a clear word when one is taken."""

import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from devnet.errors import PortTakenError, StackError

LOOPBACK = "127.0.0.1"

SERVICE_NAMES = {
    "api": "the API",
    "postgres": "PostgreSQL",
    "temporal": "Temporal",
    "temporal_ui": "the Temporal UI",
    "evm": "the EVM node",
    "bitcoin": "the Bitcoin node",
    "litecoin": "the Litecoin node",
    "jobcoin": "the Jobcoin node",
    "stripe": "the Stripe-like server",
    "rates": "the server of market prices",
    "metrics": "the workers' metrics",
}

METRICS_PORTS_MAX = 8
"""As many processes with a metrics endpoint are given a port after ``Ports.metrics``."""

_FREE_PORTS = range(20_000, 32_000)
# Below the ephemeral range, so that no outgoing connection takes a port between our choosing it
# and the server's binding it.
_ATTEMPTS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Where each service listens on 127.0.0.1."""

    api: int = 8080
    postgres: int = 5433
    temporal: int = 7233
    temporal_ui: int = 8233
    evm: int = 8545
    bitcoin: int = 18443
    litecoin: int = 19443
    jobcoin: int = 8546
    stripe: int = 12111
    rates: int = 12112
    metrics: int = 9464
    """The first of the workers' and the signer's Prometheus endpoints; the next ones follow."""

    @classmethod
    def free(cls) -> "Ports":
        """Return ports that nobody listens on at this moment."""
        first = _free_run(len(SERVICE_NAMES) + METRICS_PORTS_MAX)
        return cls(**{name: first + index for index, name in enumerate(SERVICE_NAMES)})


def check_free(ports: Ports, names: Iterable[str]) -> None:
    """
    See to it that each of the named fields of ``ports`` can be listened on.

    Raises:
        PortTakenError: Somebody listens there already.
    """
    for name in names:
        port = getattr(ports, name)
        if not is_free(port):
            raise PortTakenError(
                service=SERVICE_NAMES[name],
                port=port,
                option=f"--{name.replace('_', '-')}-port",
            )


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do: connections of a former server in TIME_WAIT are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_run(length: int) -> int:
    for _ in range(_ATTEMPTS):
        first = random.choice(_FREE_PORTS)  # noqa: S311
        if all(is_free(port) for port in range(first, first + length)):
            return first
    msg = f"There are no {length} free ports in a row on {LOOPBACK}."
    raise StackError(msg)
