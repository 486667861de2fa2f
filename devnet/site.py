"""
Where one local stack lives: its folder, its ports, its secrets, and the addresses that follow.

The folder holds ``secrets.json``, the databases, ``logs/<process>.log`` and ``run/<process>.pid``;
it is all there is to keep, and all there is to delete.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from devnet.errors import StateInUseError
from devnet.ports import LOOPBACK, Ports
from devnet.secrets import Secrets, load_or_create
from devnet.utxo_node import rpc_url
from domain.utxo.networks import BITCOIN_REGTEST, LITECOIN_REGTEST

PROJECT_DIR = Path(__file__).resolve().parent.parent
DEFAULT_STATE_DIR = Path(".strongroom")
DATABASE = "strongroom"
NAMESPACE = "strongroom"
EVM_CHAIN_ID = 31337
JOBCOIN_CHAIN = "jobcoin:local"


@dataclass(frozen=True, kw_only=True)
class Site:
    """One stack's place on this machine."""

    state_dir: Path
    ports: Ports = field(default_factory=Ports)
    code_dir: Path = PROJECT_DIR
    """Where ``worker``, ``api`` and ``migrations`` are imported from."""
    log_level: str = "INFO"
    mixing: bool = False
    """Whether mixing is switched on; as everywhere, it is off unless asked for."""

    @cached_property
    def secrets(self) -> Secrets:
        """Passwords and keys, made on first use."""
        self.make_folders()
        return load_or_create(self.state_dir)

    @property
    def run_dir(self) -> Path:
        """The folder of pid files."""
        return self.state_dir / "run"

    @property
    def log_dir(self) -> Path:
        """The folder of logs."""
        return self.state_dir / "logs"

    def log_path(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.log_dir / f"{name}.log"

    def pid_path(self, name: str) -> Path:
        """Return the pid file of a process."""
        return self.run_dir / f"{name}.pid"

    @property
    def rpc_urls(self) -> dict[str, list[str]]:
        """Each chain's node, by CAIP-2 id; with credentials."""
        return {
            f"eip155:{EVM_CHAIN_ID}": [self.evm_url],
            BITCOIN_REGTEST.chain_id: [self.bitcoin_url],
            LITECOIN_REGTEST.chain_id: [self.litecoin_url],
            JOBCOIN_CHAIN: [self.jobcoin_url],
        }

    @property
    def api_url(self) -> str:
        """The API's address."""
        return f"http://{LOOPBACK}:{self.ports.api}"

    @property
    def temporal_address(self) -> str:
        """The Temporal frontend's host and port."""
        return f"{LOOPBACK}:{self.ports.temporal}"

    @property
    def temporal_ui_url(self) -> str:
        """The Temporal UI's address."""
        return f"http://{LOOPBACK}:{self.ports.temporal_ui}"

    @property
    def evm_url(self) -> str:
        """The EVM node's JSON-RPC address."""
        return f"http://{LOOPBACK}:{self.ports.evm}"

    @property
    def bitcoin_url(self) -> str:
        """The Bitcoin node's JSON-RPC address, with user and password: not to be shown."""
        return rpc_url(self.ports.bitcoin, self.secrets.bitcoin_rpc_password)

    @property
    def litecoin_url(self) -> str:
        """The Litecoin node's JSON-RPC address, with user and password: not to be shown."""
        return rpc_url(self.ports.litecoin, self.secrets.litecoin_rpc_password)

    @property
    def jobcoin_url(self) -> str:
        """The Jobcoin node's address."""
        return f"http://{LOOPBACK}:{self.ports.jobcoin}"

    @property
    def stripe_url(self) -> str:
        """The Stripe-like server's address."""
        return f"http://{LOOPBACK}:{self.ports.stripe}"

    @property
    def rates_url(self) -> str:
        """The address of the server of market prices."""
        return f"http://{LOOPBACK}:{self.ports.rates}"

    def database_url(self, role: str = "postgres", *, database: str = DATABASE) -> str:
        """Return the URL of a database as the superuser or as one of the processes' roles."""
        passwords = {
            "postgres": self.secrets.postgres_password,
            "strongroom_api": self.secrets.api_database_password,
            "strongroom_worker": self.secrets.worker_database_password,
            "strongroom_signer": self.secrets.signer_database_password,
            "strongroom_jobcoin": self.secrets.jobcoin_database_password,
        }
        return f"postgresql://{role}:{passwords[role]}@{LOOPBACK}:{self.ports.postgres}/{database}"

    def make_folders(self) -> None:
        """Make the state folder, which others may pass through but not list, and what is in it."""
        if not self.state_dir.exists():
            self.state_dir.mkdir(parents=True)
            # PostgreSQL runs as another user when we are root, and must reach its data below here.
            self.state_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for folder in (self.run_dir, self.log_dir):
            folder.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """
        Hold the state folder for one stack; the kernel gives it back if we are killed.

        Raises:
            StateInUseError: Another stack holds it.
        """
        self.make_folders()
        path = self.state_dir / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = path.read_text().strip()
                raise StateInUseError(self.state_dir, owner=owner) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)
