"""Long-running processes: a clean stop, and an honest exit code."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set, so that work in hand is finished."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def run_and_exit(main: Callable[[], Awaitable[int]]) -> None:
    """
    Run the process and leave with its exit code.

    The interpreter's own shutdown is skipped: Temporal's native threads may call into it while it
    is being torn down and abort a process that had finished well (sdk-python issue 300).
    """
    code = asyncio.run(_main(main))
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _main(main: Callable[[], Awaitable[int]]) -> int:
    try:
        return await main()
    except Exception:
        logger.exception("the process failed")
        return 1
