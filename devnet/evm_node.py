"""
A local EVM chain: one anvil process that keeps its chain in a file and survives ``kill -9``.

anvil rewrites its state file in place about once a second (it truncates, then writes), so a kill
can leave the front half of it. Hence a second, complete copy: ``keep_good_copy`` makes it while
the node runs and ``prepare_state`` falls back to it before a start. After a kill the chain may be
a second or two younger; the product sees that as a reorg.
"""

import json
import logging
import platform
import sys
import tempfile
from pathlib import Path

import httpx

from devnet.errors import BinaryMissingError
from devnet.npm_package import NpmPackage, unpacked

ANVIL_VERSION = "1.7.1"

_INTEGRITY = {
    "linux-amd64": (
        "sha512-+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg=="
    ),
    "linux-arm64": None,
    "darwin-amd64": None,
    "darwin-arm64": None,
}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

STATES_KEPT = 32
"""
Depth of history with full state, and so of the deepest reorg that can be staged.

Each kept state repeats every block hash since genesis, so without a bound both memory and the
state file, which is rewritten every second, grow with the square of the chain's length.
"""

BOUNDED_BLOCK_TIME_S = 3
"""
Shortest block time at which anvil heeds ``STATES_KEPT``; below it keeps 1500 states.

A node that is to run for hours takes at least this: at 1 s it needs 0.4 GB after 3000 blocks.
"""

READY_TIMEOUT_S = 1.0

logger = logging.getLogger(__name__)


def anvil_binary() -> Path:
    """
    Return the anvil executable, fetching it the first time.

    Raises:
        BinaryMissingError: It could not be fetched, is not the pinned one, or there is none for
            this platform.
    """
    target = f"{sys.platform}-{_MACHINES.get(platform.machine().lower(), platform.machine())}"
    if target not in _INTEGRITY:
        msg = f"There is no packaged EVM node for {target}."
        raise BinaryMissingError(msg)
    package = NpmPackage(f"@foundry-rs/anvil-{target}", ANVIL_VERSION, _INTEGRITY[target])
    return unpacked(package) / "bin" / "anvil"


class EvmNode:
    """One node: its command line, its state file and whether it answers. Starts nothing itself."""

    def __init__(
        self,
        state_dir: Path,
        port: int,
        *,
        block_time_s: str | None,
        chain_id: int = 31337,
        log: Path,
        state_interval_s: int = 1,
    ) -> None:
        """
        Take where to keep the chain; without a block time a block is mined per transaction.

        What was mined within the state interval is lost when the node is killed.
        """
        self._state_interval_s = state_interval_s
        self.port = port
        self.log = log
        self.chain_id = chain_id
        self._block_time_s = block_time_s
        self._state = state_dir / "state.json"
        self._good = state_dir / "state.good.json"
        self._copied_mtime_ns = 0

    @property
    def url(self) -> str:
        """Return the JSON-RPC endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the command line, to be run after ``prepare_state``."""
        options = {
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--chain-id": str(self.chain_id),
            "--order": "fifo",
            # The finalized tag then lags by 2 blocks instead of 64.
            "--slots-in-an-epoch": "1",
            # From Prague on every block's state holds up to 8191 block hashes (EIP-2935), which
            # would make up most of the state file.
            "--hardfork": "cancun",
            "--state": str(self._state),
            "--state-interval": str(self._state_interval_s),
            "--prune-history": str(STATES_KEPT),
        }
        if self._block_time_s is not None:
            options["--block-time"] = self._block_time_s
        flags = ["--quiet"]
        if self._block_time_s is None or float(self._block_time_s) >= BOUNDED_BLOCK_TIME_S:
            # With it anvil can stage a reorg of blocks from before a restart. Where the number of
            # states is not bounded the file would have hundreds of megabytes within an hour.
            flags.append("--preserve-historical-states")
        return [str(anvil_binary()), *(part for item in options.items() for part in item), *flags]

    def is_ready(self) -> bool:
        """Tell whether the node answers, and for the right chain."""
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        try:
            answer = httpx.post(self.url, json=request, timeout=READY_TIMEOUT_S)
            return int(answer.json()["result"], 16) == self.chain_id
        except (httpx.HTTPError, ValueError, LookupError):
            return False

    def prepare_state(self) -> None:
        """Make sure that the next start finds a whole state file, or none. Not while it runs."""
        self._state.parent.mkdir(parents=True, exist_ok=True)
        for candidate in (self._state, self._good):
            content = _read(candidate)
            if content is not None and _parses(content):
                if candidate is self._good:
                    logger.warning("the chain's state file is torn; going back to the copy")
                    _replace(self._state, content)
                else:
                    _replace(self._good, content)
                return
        # Killed before the first whole dump: the chain starts anew.
        self._state.unlink(missing_ok=True)
        self._good.unlink(missing_ok=True)

    def keep_good_copy(self) -> bool:
        """Copy the state file if it changed and is whole; to be called about once a second."""
        try:
            mtime_ns = self._state.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if mtime_ns == self._copied_mtime_ns:
            return False
        content = _read(self._state)
        if content is None or not _is_whole(content):
            return False
        _replace(self._good, content)
        self._copied_mtime_ns = mtime_ns
        return True


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is_whole(content: bytes) -> bool:
    """
    Tell a whole dump from the front part of one, without parsing megabytes every second.

    A dump is one JSON object whose strings are names and hex and hold no brace, so every front
    part of it has more opening than closing braces.
    """
    return content.startswith(b"{") and content.count(b"{") == content.count(b"}")


def _parses(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def _replace(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as scratch:
        scratch.write(content)
    Path(scratch.name).replace(path)
