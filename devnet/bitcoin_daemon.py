"""The local Bitcoin node: ``bitcoind`` where there is a recent one, else our development node."""

import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

from devnet.environments import base_environment
from devnet.site import PROJECT_DIR
from devnet.utxo_node import CORE_OPTIONS, UtxoNode

BITCOIND_VERSION_MIN = 25

_VERSION = re.compile(r"version v?(\d+)\.")
_PROBE_TIMEOUT_S = 20

logger = logging.getLogger(__name__)


def bitcoind() -> Path | None:
    """Return the ``bitcoind`` on PATH if it is recent enough, or None."""
    found = shutil.which("bitcoind")
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, "-version"],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        logger.warning("%s does not run; using the development node", found)
        return None
    version = _VERSION.search(done.stdout)
    if version is None or int(version[1]) < BITCOIND_VERSION_MIN:
        logger.warning(
            "%s is older than %d; using the development node", found, BITCOIND_VERSION_MIN
        )
        return None
    return Path(found)


def bitcoin_node(datadir: Path, port: int, *, password: str) -> UtxoNode:
    """Return the node to use on this machine."""
    program = bitcoind()
    if program is None:
        return development_node(datadir, port, password=password)
    return core_node(program, datadir, port, password=password)


def core_node(program: Path, datadir: Path, port: int, *, password: str) -> UtxoNode:
    """Return a Bitcoin Core node."""
    return UtxoNode(
        program=(str(program), *CORE_OPTIONS),
        datadir=datadir,
        port=port,
        password=password,
        config_name="bitcoin.conf",
        env=base_environment(),
    )


def development_node(datadir: Path, port: int, *, password: str) -> UtxoNode:
    """Return our own node (``devnet.bitcoin_node``). Never for money."""
    return UtxoNode(
        program=(sys.executable, "-m", "devnet.bitcoin_node"),
        datadir=datadir,
        port=port,
        password=password,
        config_name="bitcoin.conf",
        dashes="--",
        env={**base_environment(), "PYTHONUNBUFFERED": "1"},
        # It is imported from here.
        cwd=PROJECT_DIR,
        loses_unflushed_blocks=False,
    )
