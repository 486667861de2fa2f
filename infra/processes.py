"""Long-running processes: a heartbeat in the database, a clean stop, and an honest exit code."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete

from domain.clock import Clock
from domain.errors import DatabaseUnavailableError
from infra.database import Database
from models.chain_transactions import ProcessHeartbeat

HEARTBEAT_INTERVAL = timedelta(seconds=5)
STALE_AFTER = timedelta(seconds=20)
"""A process that was silent for this long counts as not running."""

FORGOTTEN_AFTER = timedelta(days=1)

logger = logging.getLogger(__name__)


async def beat(database: Database, role: str, clock: Clock) -> None:
    """Say that this process is alive, again and again, whether or not the database listens."""
    instance = f"{socket.gethostname()}:{os.getpid()}"
    started_at = clock.now()
    while True:
        with contextlib.suppress(DatabaseUnavailableError):
            async with database.transaction() as session:
                seen = {"seen_at": clock.now()}
                row = insert(ProcessHeartbeat).values(
                    role=role, instance=instance, started_at=started_at, **seen
                )
                await session.execute(
                    row.on_conflict_do_update(index_elements=["role", "instance"], set_=seen)
                )
                await session.exec(
                    delete(ProcessHeartbeat).where(
                        col(ProcessHeartbeat.role) == role,
                        col(ProcessHeartbeat.seen_at) < func.now() - FORGOTTEN_AFTER,
                    )
                )
        await asyncio.sleep(HEARTBEAT_INTERVAL.total_seconds())


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
