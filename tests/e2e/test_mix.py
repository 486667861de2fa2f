"""Mixes on real nodes, of three families at once, while worker and signer are killed."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devnet.asking import call, get, until, verify
from devnet.bootstrap import BTC, BTC_UNIT, ETHER, ETHER_UNIT, fill
from devnet.bulk import asset_of
from devnet.funding import fund
from devnet.houses import HouseWatch
from devnet.mixing import (
    faults_of,
    mixers_of,
    open_mix,
    pay_in,
    until_over,
    until_taken,
)
from devnet.people import ScriptedUser, enlist
from devnet.ports import Ports
from devnet.stack import Stack
from domain.jobcoin.chain import ASSET as JOB
from domain.jobcoin.chain import UNIT_MINOR as JOB_UNIT
from domain.mixing.messages import LEVEL_MIN, LotStatus, MixStatus
from domain.money import format_units
from models.identity import Role
from tests.e2e.jobcoin_shell import opened_in_the_shell, paid_in_the_shell
from tests.e2e.settled import until_reconciled

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


class TestMixesOnRealNodes:
    @pytest.mark.timeout(400)
    async def test_pay_to_the_unit_while_worker_and_signer_are_killed(
        self, stack: Stack, people: People
    ) -> None:
        site = stack.site
        (ether, bitcoin) = [
            await open_mix(people.ben, await asset_of(site, code), key=f"mix-{code}")
            for code in (ETHER, BTC)
        ]
        jobcoin = await opened_in_the_shell(stack, people.ada)
        mixes = (ether, bitcoin, jobcoin)
        watch, are_over = await _watch(people), asyncio.Event()
        watching = asyncio.create_task(watch.watch(are_over))

        await pay_in(site, bitcoin, TOO_LITTLE_MINOR)
        await asyncio.gather(pay_in(site, ether, ETHER_MINOR), pay_in(site, bitcoin, BTC_MINOR))
        await paid_in_the_shell(stack, people.ada, jobcoin, format_units(JOB_MINOR, decimals=8))
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
