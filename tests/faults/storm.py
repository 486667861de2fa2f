"""
Everything at once while every process is killed at random, in turn.

Payouts, runs, deposits, purchases, transfers of pockets, and webhooks that tell of them.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from devnet.bootstrap import BTC, ETHER, ETHER_UNIT, TOKEN, TOKEN_UNIT
from devnet.stack import Stack
from domain.workflow_ids import GATEWAYS_QUEUE
from tests.faults.bank import Bank
from tests.faults.findings import Findings
from tests.faults.holders import STEPS
from tests.faults.shoppers import Shoppers
from tests.faults.units import Load, Units, dice_of

VICTIMS = (
    "worker",
    "worker-gateways",
    "signer",
    "api",
    "temporal",
    "postgres",
    "evm",
    "bitcoin",
    "stripe",
    "rates",
)
WORKERS = (None, GATEWAYS_QUEUE)
"""One for everything, and one that asks the payment gateway and sends webhooks."""

PAYOUTS_PER_USER = 2
SATOSHI_STEP = 10_000
RUN_LINES = 40
"""Of the run of each asset that is paid meanwhile."""

DEPOSIT_EVERY = 4
"""Every so many payouts a stranger pays one of the users."""

APPROVED_EVERY = 20
"""Every so many payouts one asks for an approval."""

LATE_EVERY = 12
"""Every so many purchases are paid when it is too late."""

LISTENERS_PER_USER = 4
"""One in so many of those who pay listens; all others do."""

SECONDS_PER_PURCHASE = 2.0
SETTLE_PATIENCE_S = 240.0

THREADS = 64
"""Requests wait for codes in threads; one each for all who may."""


@dataclass
class StormResult:
    """How hard it blew, what was asked for meanwhile, and what was found afterwards."""

    kills: int
    counts: dict[str, int]
    findings: Findings


async def storm(
    stack: Stack, load: Load, *, kills: int, seed: int, say: Callable[[str], None]
) -> StormResult:
    """Ask for everything while killing; afterwards let everything end, and look."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    dice = random.Random(seed)  # noqa: S311 - dice, not secrets
    bank = Bank(stack, name=f"storm-{seed}")
    units = Units(bank)
    say(f"enlisting {load.payouts // PAYOUTS_PER_USER} users, buyers and holders of pockets")
    await bank.open(users=max(2, load.payouts // PAYOUTS_PER_USER))
    await units.open(
        late=load.purchases // LATE_EVERY,
        holders=load.transfers // STEPS,
        listening=bank.users[::LISTENERS_PER_USER],
    )
    say(f"{load} under {kills} kills, seed {seed}")
    asking = asyncio.gather(*_everything(units, load, seed, say), return_exceptions=True)
    killed = await _kill(stack, kills, dice, say)
    failures = [repr(answer) for answer in await asking if isinstance(answer, BaseException)]
    say("the storm is over; waiting for everything to end")
    vanished = await bank.depositors.resend_vanished()
    say(f"{vanished} deposits vanished with a killed node and were sent again")
    await units.settle(patience_s=SETTLE_PATIENCE_S)
    findings = await units.findings()
    findings.add(lost=[f"could not be asked for: {failure}" for failure in failures])
    await units.close()
    return StormResult(killed, units.counts, findings)


def _everything(
    units: Units, load: Load, seed: int, say: Callable[[str], None]
) -> Sequence[Coroutine[None, None, object]]:
    """Return all that is asked for while processes die."""
    bank, shoppers, holders = units.bank, units.shoppers, units.holders
    calmer = random.Random(seed + 1)  # noqa: S311
    return (
        _ask(bank, load.payouts, calmer, say),
        *(bank.pay_run(asset, RUN_LINES) for asset in (ETHER, TOKEN, BTC)),
        *(_buy(shoppers, turn, seed) for turn in range(load.purchases - len(shoppers.late))),
        shoppers.pay_late(),
        *(holders.play(number, dice_of(seed, number)) for number in range(len(holders.people))),
    )


async def _buy(shoppers: Shoppers, turn: int, seed: int) -> None:
    dice = dice_of(seed, -turn - 1)
    await asyncio.sleep(turn * dice.uniform(0.5, 1.5) * SECONDS_PER_PURCHASE)
    await shoppers.buy(dice)


async def _ask(bank: Bank, payouts: int, dice: random.Random, say: Callable[[str], None]) -> None:
    approvals: list[asyncio.Task[str]] = []
    for number in range(payouts):
        needs_approval = number % APPROVED_EVERY == APPROVED_EVERY - 1
        asset, unit = dice.choice(
            [(ETHER, ETHER_UNIT // 1000), (TOKEN, TOKEN_UNIT), (BTC, SATOSHI_STEP)]
        )
        amount_minor = unit * dice.randint(1, 40)
        if needs_approval:
            asset, amount_minor = TOKEN, 500 * TOKEN_UNIT
        asked = await bank.ask(asset=asset, amount_minor=amount_minor)
        if needs_approval:
            approver = max(bank.approvers, key=lambda u: u.authenticator.codes_at_hand)
            approvals.append(
                asyncio.create_task(asyncio.to_thread(approver.approve, asked.payout_id))
            )
        if number % DEPOSIT_EVERY == 0:
            received, step = dice.choice(
                [(ETHER, ETHER_UNIT // 10), (TOKEN, 50 * TOKEN_UNIT), (BTC, 20 * SATOSHI_STEP)]
            )
            await bank.deposit(received, step * dice.randint(1, 9))
        if (number + 1) % 20 == 0:
            say(f"  {number + 1} payouts asked for")
        # Spread over the storm, so that a kill meets payouts at every stage.
        await asyncio.sleep(dice.uniform(0.2, 1.0))
    await asyncio.gather(*approvals)


async def _kill(stack: Stack, kills: int, dice: random.Random, say: Callable[[str], None]) -> int:
    killed = 0
    while killed < kills:
        turn = list(VICTIMS)
        dice.shuffle(turn)
        for name in turn:
            await asyncio.sleep(dice.uniform(0.1, 2.0))
            stack.process(name).kill()
            killed += 1
            await asyncio.sleep(dice.uniform(0.0, 0.7))
            await stack.process(name).restart_until_ready()
            if killed % 10 == 0:
                say(f"  {killed} kills")
            if killed == kills:
                break
    return killed
