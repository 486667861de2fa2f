"""
Mixes on every kind of chain while every process is killed, in turn, and the books are watched.

``make crash ARGS="--mixes 1000"`` is the long one.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from devnet.bootstrap import BITCOIN, BTC, BTC_UNIT, ETHER, ETHER_UNIT, fill
from devnet.funding import fund
from devnet.stack import Stack
from infra.database import Database
from payouts.catalog import Catalog, apply_catalog
from tests.faults.bank import Bank
from tests.faults.books_watch import BooksWatch
from tests.faults.findings import Findings
from tests.faults.killer import Killer
from tests.faults.mix_findings import judge
from tests.faults.mixers import Mixers

VICTIMS = ("worker", "signer", "api", "temporal", "postgres", "jobcoin", "evm", "bitcoin")

CALM_S = (3.0, 10.0)
"""Between one kill and the next."""

THREADS = 64
"""Requests wait for codes, and for whoever was killed, in threads."""

COINS = 8
"""Of our own on Bitcoin, that so many transactions can pay their fees at once."""

SECONDS_PER_MIX = 3.0
PATIENCE_MIN_S = 300.0
LOOK_S = 1.0
TELL_EVERY_S = 20.0


@dataclass
class MixingResult:
    """What was mixed under how many kills, how long it took, and what was found."""

    kills: int
    mixes: int
    doles: int
    seconds: float
    """From the first opening to the last settlement."""
    polls: int
    """How often the books of all mixers were compared meanwhile."""
    violations: int
    findings: Findings


async def prepared(stack: Stack, *, confirmations_min: int, bump_after_s: int) -> None:
    """
    Fill the stack, and have Bitcoin deposits wait as long as all others.

    A killed node forgets what it mined last. A mix that paid out by then would leave its user in
    debt, and wait for that to be paid; that is tested elsewhere.
    """
    await fill(stack, confirmations_min=confirmations_min, bump_after_s=bump_after_s)
    database = Database(stack.site.database_url())
    async with database.transaction() as session:
        await apply_catalog(
            session, Catalog(assets=(BITCOIN.model_copy(update={"deposit_tiers": ()}),))
        )
    await database.close()


async def mixing(
    stack: Stack, *, mixes: int, seed: int, say: Callable[[str], None]
) -> MixingResult:
    """Open so many mixes, pay them in, and kill from the first opening to the last settlement."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    bank = Bank(stack, name=f"mixing-{seed}")
    watch = BooksWatch(stack.site)
    mixers = Mixers(bank, watch, seed=seed)
    say(f"{mixes} mixes, seed {seed}: enlisting who mixes")
    await mixers.open(mixes)
    await _fund(stack)
    killer = Killer(stack, VICTIMS, seed=seed, say=say, calm_s=CALM_S)
    watching = asyncio.create_task(watch.run())
    killing = asyncio.create_task(killer.run())
    began = time.monotonic()
    try:
        async with asyncio.timeout(max(PATIENCE_MIN_S, mixes * SECONDS_PER_MIX)):
            await _to_the_end(mixers, say)
    except TimeoutError:
        say(f"  gave up: {len(mixers.unfinished())} mixes have not ended")
    finally:
        killer.over.set()
        await killing
    seconds = time.monotonic() - began
    say(f"  ended after {seconds:.0f} s and {killer.kills} kills; waiting for stillness")
    moving = await bank.await_stillness()
    watch.over.set()
    await watching
    findings, doles = await judge(mixers, stack.site)
    findings.add(
        lost=[f"{each} is still on its way" for each in moving], unbalanced=watch.violations
    )
    return MixingResult(
        killer.kills, mixes, doles, seconds, watch.polls, len(watch.violations), findings
    )


async def _fund(stack: Stack) -> None:
    """Give ourselves what the networks' fees take; nobody else has anything but what they mix."""
    await fund(stack.site, asset_code=ETHER, shares={None: 10 * ETHER_UNIT})
    for _ in range(COINS):
        await fund(stack.site, asset_code=BTC, shares={None: BTC_UNIT // 10})


async def _to_the_end(mixers: Mixers, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    await mixers.ask()
    say(f"  all opened after {time.monotonic() - began:.0f} s")
    again = asyncio.create_task(mixers.pay_again_what_vanished())
    playing = asyncio.create_task(mixers.play())
    try:
        told = began
        while not playing.done() or mixers.unfinished():
            await asyncio.sleep(LOOK_S)
            if playing.done():
                playing.result()
            if time.monotonic() - told > TELL_EVERY_S:
                told = time.monotonic()
                left = len(mixers.unfinished())
                say(f"  {left} have not ended after {told - began:.0f} s")
    finally:
        for task in (again, playing):
            task.cancel()
        await asyncio.wait([again, playing])
