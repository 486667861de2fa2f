"""
A local Bitcoin-like regtest node: its command line, its login, and whether it answers.

The same for every daemon with Bitcoin Core's JSON-RPC. It listens on 127.0.0.1 alone, has no peers
and no wallet, and keeps an index of all transactions.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from devnet.ports import LOOPBACK

RPC_USER = "strongroom"
READY_TIMEOUT_S = 2.0
FLUSH_TIMEOUT_S = 60.0

CORE_OPTIONS = (
    "-regtest",
    "-server",
    "-listen=0",
    "-disablewallet=1",
    "-txindex=1",
    f"-rpcbind={LOOPBACK}",
    f"-rpcallowip={LOOPBACK}",
    # On regtest everything is relayed otherwise, dust included.
    "-acceptnonstdtxn=0",
    "-printtoconsole=1",
    "-nodebuglogfile",
)
"""What Bitcoin Core and Litecoin Core are started with; the log goes to standard output."""


@dataclass(kw_only=True)
class UtxoNode:
    """One node; starts nothing itself."""

    program: tuple[str, ...]
    """The command line up to where the folder and the port are named."""
    datadir: Path
    port: int
    password: str = field(repr=False)
    config_name: str
    """The file in the folder from which the daemon reads the login."""
    dashes: str = "-"
    """What its options begin with."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path = Path("/")
    loses_unflushed_blocks: bool = True
    """Killed, it goes back to the last time it was told to flush."""
    _flushed_tip: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The JSON-RPC endpoint, with the login."""
        return rpc_url(self.port, self.password)

    def command(self) -> list[str]:
        """Return the command line, to be run after ``prepare``."""
        places = {"datadir": self.datadir, "rpcport": self.port}
        return [
            *self.program,
            *(f"{self.dashes}{name}={value}" for name, value in places.items()),
        ]

    def prepare(self) -> None:
        """Make the folder, and the file with the login: on a command line everybody sees it."""
        self.datadir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.datadir / self.config_name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"rpcuser={RPC_USER}\nrpcpassword={self.password}\n")

    def is_ready(self) -> bool:
        """Tell whether the node answers, with this login."""
        try:
            return bool(self._call("getblockchaininfo", timeout_s=READY_TIMEOUT_S))
        except (httpx.HTTPError, ValueError, LookupError):
            return False

    def flush(self) -> bool:
        """Have the node write new blocks to disk, if there are any; for once a second."""
        if not self.loses_unflushed_blocks:
            return False
        try:
            tip = str(self._call("getbestblockhash", timeout_s=READY_TIMEOUT_S))
            if tip == self._flushed_tip:
                return False
            # A side effect that it always had: it reads the coins from disk.
            self._call("gettxoutsetinfo", timeout_s=FLUSH_TIMEOUT_S)
        except (httpx.HTTPError, ValueError, LookupError):
            return False
        self._flushed_tip = tip
        return True

    def _call(self, method: str, *, timeout_s: float) -> Any:
        request = {"method": method, "params": [], "id": 1}
        answer = httpx.post(self.url, json=request, timeout=timeout_s, trust_env=False).json()
        if answer["error"] is not None:
            raise LookupError(answer["error"])
        return answer["result"]


def rpc_url(port: int, password: str) -> str:
    """Return a local node's JSON-RPC endpoint, with the login."""
    return f"http://{RPC_USER}:{password}@{LOOPBACK}:{port}"
