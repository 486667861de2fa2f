"""Long activities that wait for something, and end by themselves now and then."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from temporalio import activity

ROUND_LENGTH = timedelta(minutes=5)
"""A waiting activity ends after this long, so that its workflow can continue as new."""


async def rounds(interval: timedelta) -> AsyncIterator[None]:
    """Yield at each interval until the round is over or the worker shuts down."""
    deadline = asyncio.get_running_loop().time() + ROUND_LENGTH.total_seconds()
    shutdown = asyncio.create_task(activity.wait_for_worker_shutdown())
    try:
        while asyncio.get_running_loop().time() < deadline and not shutdown.done():
            yield
            await asyncio.wait([shutdown], timeout=interval.total_seconds())
    finally:
        shutdown.cancel()
