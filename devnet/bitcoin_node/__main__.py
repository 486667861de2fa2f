"""
Run the development node: ``python -m devnet.bitcoin_node --datadir DIR --rpcport PORT``.

``DIR/bitcoin.conf`` may have ``rpcuser`` and ``rpcpassword``; ``DIR/regtest/.cookie`` always has a
login, new at each start. Both are as bitcoind's. The chain is in ``DIR/regtest``.
"""

import argparse
import fcntl
import os
import secrets
import shutil
import signal
import sys
import threading
from pathlib import Path

from devnet.bitcoin_node.node import Node
from devnet.bitcoin_node.server import RpcServer

COOKIE_USER = "__cookie__"


def main() -> int:
    """Serve until told to stop; return the exit status."""
    options = _options()
    folder: Path = options.datadir / "regtest"
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"Another node runs on {folder}.", file=sys.stderr)  # noqa: T201
        return 1
    # Scratch files of a kernel that was killed.
    shutil.rmtree(folder / "kernel", ignore_errors=True)
    cookie = f"{COOKIE_USER}:{secrets.token_hex(32)}"
    node = Node(folder)
    server = RpcServer(node, options.rpcport, logins=[cookie, *_logins(options.datadir)])
    _write_secret(folder / ".cookie", cookie)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    with server.lock:
        node.close()
    (folder / ".cookie").unlink(missing_ok=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="devnet.bitcoin_node", description=__doc__)
    parser.add_argument("--datadir", type=Path, required=True)
    parser.add_argument("--rpcport", type=int, default=18443)
    return parser.parse_args()


def _logins(datadir: Path) -> list[str]:
    path = datadir / "bitcoin.conf"
    lines = path.read_text().splitlines() if path.exists() else []
    settings = dict(line.split("=", 1) for line in lines if "=" in line)
    if "rpcpassword" not in settings:
        return []
    return [f"{settings.get('rpcuser', '')}:{settings['rpcpassword']}"]


def _write_secret(path: Path, content: str) -> None:
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
