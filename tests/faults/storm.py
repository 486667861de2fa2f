"""Payouts while every process is killed at random, in turn."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from devnet.bootstrap import BTC, ETHER, ETHER_UNIT, TOKEN, TOKEN_UNIT
from devnet.stack import Stack
from tests.faults.bank import Bank, Findings

VICTIMS = ("worker", "signer", "api", "temporal", "postgres", "evm", "bitcoin")
PAYOUTS_PER_USER = 2
SATOSHI_STEP = 10_000
RUN_LINES = 40
"""Of the run of each asset that is paid meanwhile."""

DEPOSIT_EVERY = 4
"""Every so many payouts a stranger pays one of the users."""

APPROVED_EVERY = 20
"""Every so many payouts one asks for an approval."""


@dataclass
class StormResult:
    """How hard it blew, and what was found afterwards."""

    kills: int
    payouts: int
    lines: int
    """Of runs."""
    deposits: int
    findings: Findings


async def storm(
    stack: Stack, *, payouts: int, kills: int, seed: int, say: Callable[[str], None]
) -> StormResult:
    """Ask for payouts while killing; afterwards let everything end, and look."""
    dice = random.Random(seed)  # noqa: S311 - dice, not secrets
    bank = Bank(stack, name=f"storm-{seed}")
    say(f"enlisting {payouts // PAYOUTS_PER_USER} users")
    await bank.open(users=max(2, payouts // PAYOUTS_PER_USER))
    say(f"{payouts} payouts under {kills} kills, seed {seed}")
    calmer = random.Random(seed + 1)  # noqa: S311
    asking = asyncio.gather(
        _ask(bank, payouts, calmer, say),
        *(bank.pay_run(asset, RUN_LINES) for asset in (ETHER, TOKEN, BTC)),
    )
    killed = await _kill(stack, kills, dice, say)
    await asking
    say("the storm is over; waiting for every payout and deposit to end")
    vanished = await bank.depositors.resend_vanished()
    say(f"{vanished} deposits vanished with a killed node and were sent again")
    await bank.settle(patience_s=180)
    findings = await bank.findings()
    return StormResult(
        kills=killed,
        payouts=len(bank.asked),
        lines=len(bank.lines),
        deposits=len(bank.depositors.sent),
        findings=findings,
    )


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
