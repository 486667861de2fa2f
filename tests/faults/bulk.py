"""
Runs of many lines on every kind of chain while every process is killed, in turn.

``make crash ARGS="--bulk 10000"`` is the long one.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from devnet.bootstrap import BTC, BTC_UNIT, ETHER, ETHER_UNIT
from devnet.funding import fund
from devnet.stack import Stack
from tests.faults.bank import Bank
from tests.faults.findings import Findings
from tests.faults.killer import Killer

VICTIMS = ("worker", "api", "postgres", "signer", "evm", "bitcoin", "temporal")
COINS = 12
"""So many transactions on Bitcoin can be on their way at once."""

BTC_PER_LINE_MINOR = 4_000
"""More than amount and service fee."""

SECONDS_PER_LINE = 0.2
PATIENCE_MIN_S = 240.0


@dataclass
class BulkResult:
    """What was paid under how many kills, how long it took, and what was found afterwards."""

    kills: int
    lines: int
    seconds: float
    findings: Findings


async def bulk(stack: Stack, *, lines: int, seed: int, say: Callable[[str], None]) -> BulkResult:
    """Pay a run of so many lines on each chain, killing from the upload to the last settlement."""
    bank = Bank(stack, name=f"bulk-{seed}")
    await bank.open(users=2)
    await _fund(bank, lines)
    say(f"a run of {lines} lines on each chain, seed {seed}")
    killer = Killer(stack, VICTIMS, seed=seed, say=say)
    began = time.monotonic()
    killing = asyncio.create_task(killer.run())
    try:
        await asyncio.gather(*(bank.pay_run(asset, lines) for asset in (ETHER, BTC)))
        say(f"  both started and approved after {time.monotonic() - began:.0f} s")
        await bank.settle(patience_s=max(PATIENCE_MIN_S, lines * SECONDS_PER_LINE))
    finally:
        killer.over.set()
        await killing
    seconds = time.monotonic() - began
    say(f"  ended after {seconds:.0f} s and {killer.kills} kills")
    # What the last kills left undone ends by itself.
    await bank.settle()
    return BulkResult(killer.kills, len(bank.lines), seconds, await bank.findings())


async def _fund(bank: Bank, lines: int) -> None:
    """Give everybody what lines and fees take, in as many coins as can be spent at once."""
    site = bank.stack.site
    ether: dict[str | None, int] = {u.user_id: 10 * ETHER_UNIT for u in bank.users}
    await fund(site, asset_code=ETHER, shares={**ether, None: 10 * ETHER_UNIT})
    coin_minor = max(BTC_UNIT // 100, lines * BTC_PER_LINE_MINOR // COINS)
    coin: dict[str | None, int] = {u.user_id: coin_minor for u in bank.users}
    for _ in range(COINS):
        await fund(site, asset_code=BTC, shares={**coin, None: coin_minor})
