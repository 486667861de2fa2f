"""
A whole real Litecoin node on regtest: ``litecoind`` from this machine, or fetched as a package.

Three things to know of Litecoin Core 0.21: without ``-mempoolreplacement`` it replaces nothing, as
nodes on the real network do not; killed, it forgets every block since its last flush, back to the
genesis block; and once MWEB is active it mines no block before somebody pegged in.
"""

import functools
import shutil
import sys
from pathlib import Path

from devnet.debian_package import Program, unpacked_program
from devnet.environments import base_environment
from devnet.errors import BinaryMissingError
from devnet.utxo_node import CORE_OPTIONS, UtxoNode

PACKAGE = "litecoind"
PACKAGED_PATH = "usr/lib/litecoin/litecoind"
"""In Debian's package; what it puts on PATH is a script that writes into the home folder."""

MWEB_NEVER = "-vbparams=mweb:3999999999:4000000000"
"""Start and end of its activation by time, far away (BIP9)."""


@functools.cache
def litecoind() -> Program:
    """
    Return the ``litecoind`` to use: the machine's own, or one that is fetched once into the cache.

    Raises:
        BinaryMissingError: There is none and none could be fetched; the message says what to do.
    """
    for installed in (Path("/") / PACKAGED_PATH, shutil.which("litecoind")):
        if installed is not None and Program(Path(installed)).runs("-version"):
            return Program(Path(installed))
    try:
        program = unpacked_program(PACKAGE, PACKAGED_PATH)
    except BinaryMissingError as error:
        msg = (
            "There is no litecoind here, and it could not be fetched as a Debian package. Install "
            "it with `apt-get install litecoind`, or put litecoind of Litecoin Core 0.21 on PATH. "
            f"({error})"
        )
        raise BinaryMissingError(msg) from error
    if not program.runs("-version"):
        msg = f"{program.path} does not run here; put litecoind of Litecoin Core 0.21 on PATH."
        raise BinaryMissingError(msg)
    return program


def litecoin_node(
    datadir: Path, port: int, *, password: str, has_replacement: bool = False
) -> UtxoNode:
    """Return a node; the first time ever this fetches the program, so use a thread."""
    program = litecoind()
    return UtxoNode(
        program=(
            str(program.path),
            *CORE_OPTIONS,
            f"-mempoolreplacement={int(has_replacement)}",
            MWEB_NEVER,
        ),
        datadir=datadir,
        port=port,
        password=password,
        config_name="litecoin.conf",
        env=program.environment(base_environment()),
    )


def main() -> int:
    """Fetch the program where that is needed, and print where it is; return the exit status."""
    try:
        print(litecoind().path)  # noqa: T201
    except BinaryMissingError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
