"""The part of the demo where two verified users mix, while the processes around them are killed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console

from cli.context import Context
from devnet.asking import verify
from devnet.bulk import asset_of
from devnet.houses import HouseWatch
from devnet.mixing import OpenMix, mixers_of, open_mix_on, pay_in, until_over, until_taken
from devnet.people import ScriptedUser, enlist
from devnet.site import Site
from domain.clock import SystemClock
from domain.jobcoin.chain import ASSET as JOB
from domain.jobcoin.chain import DECIMALS as JOB_DECIMALS
from domain.jobcoin.chain import UNIT_MINOR as JOB_UNIT
from domain.mixing.messages import LEVEL_MIN
from domain.money import format_units
from models.identity import Role

NAMES = ("heidi", "ivan")
PLAN = (
    (0, 0, 7 * JOB_UNIT + 50_012_345),
    (0, 1, 11 * JOB_UNIT + 1),
    (1, 1, 9 * JOB_UNIT + 20_000_000),
    (1, 2, 6 * JOB_UNIT + 33_333_333),
)
"""Which of the users mixes, on which of the mixers, how much: every mixer has something to do."""


@dataclass
class Mixed:
    """One mix of the tour."""

    mix: OpenMix
    mixer: dict[str, Any]
    paid_minor: int
    answer: dict[str, Any] = field(default_factory=dict)
    """The last that the API told of it."""

    @property
    def mixer_name(self) -> str:
        """What the mixer is called among those of its asset."""
        return str(self.mixer["name"]).split()[0]

    @property
    def fee_rate(self) -> str:
        """The mixer's fee, for people."""
        policy = self.mixer["policy"]
        return f"{100 * policy['fee_numerator'] / policy['fee_denominator']:g} %"


@dataclass
class MixTour:
    """Two who mix, who lets them, who reads the books of the mixers, and what came of it."""

    site: Site
    approver: ScriptedUser
    users: Sequence[ScriptedUser] = ()
    mixes: list[Mixed] = field(default_factory=list)
    watch: HouseWatch | None = None
    """An auditor's."""
    kills: list[tuple[datetime, str]] = field(default_factory=list)
    """Which process was killed when, while this went on."""

    async def open(self) -> None:
        """Have two users verified, who then open their mixes at the same time."""
        people = (enlist(self.site, "judy", [Role.AUDITOR]), *(enlist(self.site, n) for n in NAMES))
        auditor, *self.users = await asyncio.gather(*people)
        for user in self.users:
            await verify(user, self.approver, level=LEVEL_MIN)
        mixers = await mixers_of(auditor, JOB)
        self.watch = HouseWatch(auditor, [mixer["id"] for mixer in mixers])
        opened = [self._open_all(number, mixers) for number in range(len(self.users))]
        self.mixes = [mixed for some in await asyncio.gather(*opened) for mixed in some]

    async def pay_in(self, out: Console) -> None:
        """Pay every deposit address, and wait until the mixers have it all."""
        await asyncio.gather(*(pay_in(self.site, each.mix, each.paid_minor) for each in self.mixes))
        for each in self.mixes:
            each.answer = await until_taken(each.mix)
            out.print(f"  {_said(each)}", highlight=False, soft_wrap=True)

    async def follow(self) -> None:
        """Read the mixers' books until every mix is over, and once more."""
        assert self.watch is not None
        over = asyncio.Event()
        watching = asyncio.create_task(self.watch.watch(over))
        try:
            for each in self.mixes:
                each.answer = await until_over(each.mix)
        finally:
            over.set()
        await watching

    def invite(self, out: Console) -> None:
        """Leave the first user logged in on the command line, and say what can be done there."""
        user, state_dir = self.users[0], self.site.state_dir
        context = Context("", user.name, state_dir, is_json=False, out=out, log=out)
        context.store_profile(token=str(user.api.token))
        lines = (
            f"The same by hand, while the stack is up, as {user.name} who stays logged in:",
            f"  strongroom --state {state_dir} --profile {user.name} jobcoin",
            "  a shell with new_address, mint, send, get_transactions, and add_addresses, which",
            f"  asks for a one-time code, of the secret {user.authenticator.secret}",
        )
        for line in lines:
            out.print(line, highlight=False, soft_wrap=True)

    def note_kill(self, name: str) -> None:
        """Remember that a process is being killed."""
        self.kills.append((SystemClock().now(), name))

    async def _open_all(self, number: int, mixers: Sequence[dict[str, Any]]) -> list[Mixed]:
        """Open the mixes of one user, one after the other: each takes a code."""
        asset, opened = await asset_of(self.site, JOB), []
        for place, (who, which, paid_minor) in enumerate(PLAN):
            if who == number:
                key = f"demo-mix-{place}"
                mix = await open_mix_on(self.users[who], asset, mixers[which]["id"], key=key)
                opened.append(Mixed(mix, mixers[which], paid_minor))
        return opened


def _said(mixed: Mixed) -> str:
    amount = format_units(mixed.paid_minor, decimals=JOB_DECIMALS)
    return (
        f"{mixed.mix.user.name} paid in {amount} {JOB} at {mixed.mix.deposit_address}: by its hash"
        f" mixer {mixed.mixer_name} has it; fee {mixed.fee_rate},"
        f" to leave in {len(mixed.answer['doles'])} parts"
    )
