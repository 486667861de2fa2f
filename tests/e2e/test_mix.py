"""Mixes on real nodes, of three families at once, while worker and signer are killed."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.context import Context
from devnet.asking import call, get, until, verify
from devnet.bootstrap import BTC, BTC_UNIT, ETHER, ETHER_UNIT, fill
from devnet.bulk import asset_of
from devnet.funding import fund
from devnet.houses import HouseWatch
from devnet.mixing import (
    OpenMix,
    faults_of,
    mixers_of,
    open_mix,
    pay_in,
    until_over,
    until_taken,
)
from devnet.people import ScriptedUser, enlist
from devnet.ports import Ports
from devnet.rich_minter import RichMinter
from devnet.stack import Stack
from domain.errors import SecondFactorInvalidError
from domain.jobcoin.chain import ASSET as JOB
from domain.jobcoin.chain import UNIT_MINOR as JOB_UNIT
from domain.mixing.messages import LEVEL_MIN, LotStatus, MixStatus
from domain.mixing.sharding import Ring
from domain.money import format_units
from models.identity import Role
from tests.e2e.settled import until_reconciled

ROOT = Path(__file__).parents[2]
POLL_S = 0.2
PATIENCE_S = 60.0

ETHER_MINOR = 17 * ETHER_UNIT // 1_000 + 12_345
BTC_MINOR = 13 * BTC_UNIT // 100 + 7
TOO_LITTLE_MINOR = BTC_UNIT // 100
JOB_MINOR = 19 * JOB_UNIT + 50_000_001


@dataclass(frozen=True)
class People:
    """Two who may mix, and one who reads the books."""

    ada: ScriptedUser
    ben: ScriptedUser
    auditor: ScriptedUser


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="strongroom-mix-") as folder:
        prepare = partial(fill, confirmations_min=3, bump_after_s=4)
        running = Stack(
            Path(folder) / "stack",
            ports=Ports.free(),
            block_time_s="1",
            prepare=prepare,
            mixing=True,
        )
        async with running:
            yield running
        running.erase()


@pytest.fixture(scope="module")
async def people(stack: Stack) -> People:
    site = stack.site
    approver = await enlist(site, "petra", [Role.APPROVER])
    found = People(
        ada=await enlist(site, "ada"),
        ben=await enlist(site, "ben"),
        auditor=await enlist(site, "olga", [Role.AUDITOR]),
    )
    # The operator's own coins are for what the networks take.
    await asyncio.gather(
        _verify_all((found.ada, found.ben), approver),
        fund(site, asset_code=ETHER, shares={None: ETHER_UNIT}),
        fund(site, asset_code=BTC, shares={None: BTC_UNIT}),
    )
    return found


async def _verify_all(users: Sequence[ScriptedUser], approver: ScriptedUser) -> None:
    for user in users:
        await verify(user, approver, level=LEVEL_MIN)


class RefusedError(Exception):
    """A command ended with an error: what it said."""


@dataclass(frozen=True)
class Shell:
    """``strongroom jobcoin`` against a stack's state folder, as a user who is logged in."""

    stack: Stack
    user: ScriptedUser

    def log_in(self) -> None:
        """Keep the user's session as ``strongroom user login`` does."""
        quiet = Console(stderr=True)
        context = Context("", self.user.name, self.state_dir, is_json=True, out=quiet, log=quiet)
        context.store_profile(token=str(self.user.api.token))

    async def run(self, *words: str, lines: str = "", code: str = "") -> list[Any]:
        """Return the answers to one command, or to the lines of a shell."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "cli.main", "--state", str(self.state_dir), "--profile", self.user.name),
            *("--json", "jobcoin", *words),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "STRONGROOM_TOTP_CODE": code},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, why = await asyncio.wait_for(process.communicate(lines.encode()), PATIENCE_S)
        if process.returncode:
            raise RefusedError(why.decode())
        return answers_in(said.decode())

    async def run_with_code(self, *words: str) -> list[Any]:
        """Run a command with a one-time code; with another, where that was too old by then."""
        while True:
            code = await asyncio.to_thread(self.user.authenticator.next_code)
            try:
                return await self.run(*words, code=code)
            except RefusedError as refused:
                if SecondFactorInvalidError.code not in str(refused):
                    raise

    @property
    def state_dir(self) -> Path:
        return self.stack.site.state_dir


def answers_in(text: str) -> list[Any]:
    """Return the JSON values that were printed one after the other."""
    decoder, found, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        # Before each answer the shell prompts.
        value, end = decoder.raw_decode(rest, rest.index("{"))
        found.append(value)
        rest = rest[end:].strip() if "{" in rest[end:] else ""
    return found


class TestMixesOnRealNodes:
    @pytest.mark.timeout(300)
    async def test_pay_to_the_unit_while_worker_and_signer_are_killed(
        self, stack: Stack, people: People
    ) -> None:
        site = stack.site
        (ether, bitcoin) = [
            await open_mix(people.ben, await asset_of(site, code), key=f"mix-{code}")
            for code in (ETHER, BTC)
        ]
        jobcoin = await _opened_in_the_shell(stack, people.ada)
        mixes = (ether, bitcoin, jobcoin)
        watch, are_over = await _watch(people), asyncio.Event()
        watching = asyncio.create_task(watch.watch(are_over))

        await pay_in(site, bitcoin, TOO_LITTLE_MINOR)
        await asyncio.gather(pay_in(site, ether, ETHER_MINOR), pay_in(site, bitcoin, BTC_MINOR))
        await _paid_in_the_shell(stack, people.ada, jobcoin, format_units(JOB_MINOR, decimals=8))
        for mix in mixes:
            await until_taken(mix)
        for victim in ("worker", "signer"):
            stack.process(victim).kill()
            await stack.process(victim).restart_until_ready()
        answers = [await until_over(mix) for mix in mixes]
        are_over.set()
        await watching

        paid = (ETHER_MINOR, BTC_MINOR, JOB_MINOR)
        for mix, answer, paid_minor in zip(mixes, answers, paid, strict=True):
            assert await faults_of(site, mix, answer, paid_minor=paid_minor) == []
            assert any(books.owed_minor for books in watch.readings[mix.mixer_id])
        assert watch.faults == []
        assert _not_mixed(answers[1]) == [(str(TOO_LITTLE_MINOR), "below_minimum")]
        assert await _available_minor(people.ben, BTC) == TOO_LITTLE_MINOR
        assert await _available_minor(people.ben, ETHER) == 0
        await until_reconciled(stack)

    async def test_give_everything_back_when_cancelled_before_the_first_part_left(
        self, stack: Stack, people: People
    ) -> None:
        mix = await open_mix(people.ben, await asset_of(stack.site, JOB), key="given-up")
        # Else the first part may leave before the user has made up their mind.
        await call(people.ben, "POST", f"{mix.path}/pause", None)
        await pay_in(stack.site, mix, 23 * JOB_UNIT + 1)
        await until_taken(mix)

        await call(people.ben, "POST", f"{mix.path}/cancellation", None)
        answer = await until(people.ben, mix.path, lambda m: m["status"] == MixStatus.CANCELLED)

        assert (answer["received"], answer["fee"], answer["doled"]) == ("0", "0", "0")
        assert await _available_minor(people.ben, JOB) == 23 * JOB_UNIT + 1
        watch, at_once = await _watch(people), asyncio.Event()
        at_once.set()
        await watch.watch(at_once)
        assert watch.faults == []
        await until_reconciled(stack)


async def _opened_in_the_shell(stack: Stack, user: ScriptedUser) -> OpenMix:
    """Make keys and coins, and give two of the addresses to a mixer; look where it says to pay."""
    shell = Shell(stack, user)
    shell.log_in()
    lines = "new_address purse\nnew_address one\nnew_address two\nmint purse 20\n\n"
    _, one, two, _ = await shell.run(lines=lines)

    (answer,) = await shell.run_with_code("add-addresses", "one", "two")

    mix = OpenMix.of(user, await asset_of(stack.site, JOB), answer, one["address"], two["address"])
    mixers = [mixer["id"] for mixer in await mixers_of(user, JOB)]
    assert mix.mixer_id == Ring(mixers).mixer_of(mix.deposit_address)
    return mix


async def _paid_in_the_shell(stack: Stack, user: ScriptedUser, mix: OpenMix, amount: str) -> None:
    shell, minter = Shell(stack, user), RichMinter.of(stack.site)
    (listed,) = await shell.run("addresses")
    purse = next(each["address"] for each in listed["items"] if each["name"] == "purse")
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await minter.balance_minor(purse):
                break
            await asyncio.sleep(POLL_S)
    await shell.run("send", "purse", mix.deposit_address, amount)


async def _watch(people: People) -> HouseWatch:
    mixers = [m for asset in (JOB, ETHER, BTC) for m in await mixers_of(people.auditor, asset)]
    return HouseWatch(people.auditor, [mixer["id"] for mixer in mixers])


def _not_mixed(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (deposit["amount"], deposit["reason_code"])
        for deposit in answer["deposits"]
        if deposit["status"] != LotStatus.TAKEN
    ]


async def _available_minor(user: ScriptedUser, asset: str) -> int:
    wallet = await get(user, "/v1/wallets")
    return sum(int(b["available"]) for b in wallet["balances"] if b["asset"] == asset)
