"""Waiting until a stack's books equal its chains."""

import asyncio

from devnet.reconcile import reconcile
from devnet.stack import Stack

PATIENCE_S = 60.0
POLL_S = 0.5


async def until_reconciled(stack: Stack) -> None:
    """Wait for the last blocks' bookings; a stack with something wrong runs into the timeout."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if (await reconcile(stack.site)).is_right:
                return
            await asyncio.sleep(POLL_S)
