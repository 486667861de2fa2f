"""People who mix: each mix goes one of several ways, and each payment to it is remembered."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

import httpx

from cli.client import ApiProblem
from devnet.asking import call
from devnet.bootstrap import BTC, BTC_UNIT, ETHER, ETHER_UNIT
from devnet.bulk import asset_of, payments
from devnet.errors import StackError
from devnet.levels import decree_level
from devnet.people import ScriptedUser
from devnet.rich_minter import RichMinter
from domain.errors import MixStateError, StrongroomError
from domain.jobcoin.chain import ASSET as JOB
from domain.jobcoin.chain import UNIT_MINOR as JOB_UNIT
from domain.mixing.messages import LEVEL_MIN, MixStatus
from models.identity import Role
from models.wallets import Asset
from tests.faults.bank import Bank
from tests.faults.books_watch import BooksWatch
from tests.faults.units import dice_of

UNITS: Mapping[str, int] = {JOB: JOB_UNIT, ETHER: ETHER_UNIT // 1_000, BTC: BTC_UNIT // 100}
"""What the local stack's mixers reckon in; see ``devnet.mixers``."""

LEAST, MOST, TOO_LITTLE = 5, 8, 1
"""Units that are paid in: at least, at most, and where it is too little to be mixed."""

MIXES_PER_USER = 10
"""A user has three one-time codes at hand, and another each half minute."""

HOLDS_PER_OPERATOR = 4
AT_ONCE = 32
"""Requests, and payments to mixes, that are on their way at the same time."""

RETRY_S = 0.3


class Way(StrEnum):
    """What becomes of a mix."""

    ONCE = "once"
    TWICE = "twice"
    """Two payments to one address."""
    PAUSED = "paused"
    HELD = "held"
    """By an operator, who lets it go on."""
    SMALL_FIRST = "small first"
    """The first payment is too little to be mixed, the second is not."""
    GIVEN_BACK = "given back"
    """Given up when its deposit was in the house, and no part had left."""
    GIVEN_UP = "given up"
    """Given up before its deposit came."""

    @property
    def end(self) -> MixStatus:
        """Where it ends."""
        is_given = self in (Way.GIVEN_BACK, Way.GIVEN_UP)
        return MixStatus.CANCELLED if is_given else MixStatus.DONE


WAYS = (
    *(Way.ONCE, Way.TWICE, Way.PAUSED, Way.ONCE, Way.HELD, Way.ONCE, Way.GIVEN_BACK, Way.ONCE),
    *(Way.ONCE, Way.SMALL_FIRST, Way.ONCE, Way.TWICE, Way.ONCE, Way.GIVEN_UP, Way.PAUSED),
    *(Way.ONCE, Way.TWICE, Way.ONCE, Way.GIVEN_BACK, Way.ONCE),
)
"""In turn."""

ASSETS: Mapping[int, str] = {7: ETHER, 19: BTC}
"""Of each ``ASSETS_EVERY`` mixes those of other assets than Jobcoin, by their place."""
ASSETS_EVERY = 25


@dataclass
class AskedMix:
    """A mix that was asked for, and what was paid in."""

    number: int
    user: ScriptedUser
    asset: str
    way: Way
    addresses: tuple[str, ...]
    mix_id: str = ""
    deposit_address: str = ""
    minted: dict[str, int] = field(default_factory=dict)
    """Jobcoin paid in, by txid; what was paid on other chains the depositors know."""

    @property
    def takes(self) -> int:
        """How many payments it awaits."""
        return 2 if self.way in (Way.TWICE, Way.SMALL_FIRST) else 1


class Mixers:
    """Who mixes on one stack."""

    def __init__(self, bank: Bank, watch: BooksWatch, *, seed: int) -> None:
        self.bank = bank
        self.asked: list[AskedMix] = []
        self._watch = watch
        self._seed = seed
        self._minter = RichMinter.of(bank.stack.site)
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def open(self, mixes: int) -> None:
        """Enlist whom it takes, with the KYC level that it takes."""
        bank, held = self.bank, mixes * WAYS.count(Way.HELD) // len(WAYS)
        users = -(-mixes // MIXES_PER_USER)
        bank.users = await bank.enlist([f"mixing{n}" for n in range(users)])
        operators = [f"holder{n}" for n in range(1 + held // HOLDS_PER_OPERATOR)]
        self._operators = await bank.enlist(operators, [Role.OPERATOR])
        await decree_level(bank.stack.site, [user.user_id for user in bank.users], level=LEVEL_MIN)
        assets = {code: await asset_of(bank.stack.site, code) for code in UNITS}
        self.asked = [self._planned(number, assets) for number in range(mixes)]

    def _planned(self, number: int, assets: Mapping[str, Asset]) -> AskedMix:
        asset = ASSETS.get(number % ASSETS_EVERY, JOB)
        count = self._dice(number).randint(2, 5)
        fresh = payments(assets[asset], count, name=f"{self.bank.name} {number}", least_minor=1)
        return AskedMix(
            number=number,
            user=self.bank.users[number % len(self.bank.users)],
            asset=asset,
            way=WAYS[number % len(WAYS)],
            addresses=tuple(payment.destination for payment in fresh),
        )

    def _dice(self, number: int) -> random.Random:
        return dice_of(self._seed, number)

    async def ask(self) -> None:
        """Have every mix opened."""
        await asyncio.gather(*(self._ask(mix) for mix in self.asked))

    async def _ask(self, mix: AskedMix) -> None:
        body = {"asset": mix.asset, "addresses": mix.addresses, "parts": 2 + mix.number % 6}
        async with self._gate:
            opened = await _patiently(
                lambda: call(mix.user, "POST", "/v1/mixes", body, needs_code=True)
            )
        mix.mix_id, mix.deposit_address = str(opened["id"]), str(opened["deposit_address"])

    async def play(self) -> None:
        """Pay every mix in, and have each go its way."""
        await asyncio.gather(*(self._play(mix) for mix in self.asked))

    async def _play(self, mix: AskedMix) -> None:
        dice = self._dice(-mix.number - 1)
        match mix.way:
            case Way.SMALL_FIRST:
                await self._pay(mix, TOO_LITTLE * UNITS[mix.asset])
            case Way.GIVEN_UP:
                await self._act(mix, "cancellation")
            case Way.GIVEN_BACK:
                # Paused, no part leaves before it is given up.
                await self._act(mix, "pause")
            case _:
                pass
        for _ in range(2 if mix.way == Way.TWICE else 1):
            await self._pay(mix, _amount_minor(mix.asset, dice))
        match mix.way:
            case Way.PAUSED:
                await self._pause(mix, dice)
            case Way.HELD:
                await self._hold(mix, dice)
            case Way.GIVEN_BACK:
                await self._until_in_house(mix)
                await self._act(mix, "cancellation")
            case _:
                pass

    async def _pause(self, mix: AskedMix, dice: random.Random) -> None:
        await self._until_in_house(mix)
        await self._act(mix, "pause")
        await asyncio.sleep(dice.uniform(0.0, 6.0))
        await self._act(mix, "resumption")

    async def _hold(self, mix: AskedMix, dice: random.Random) -> None:
        await self._until_in_house(mix)
        operator = self._operators[mix.number // len(WAYS) % len(self._operators)]
        await self._act(mix, "hold", by=operator)
        await asyncio.sleep(dice.uniform(0.0, 6.0))
        await self._act(mix, "hold/release", by=operator)

    async def _until_in_house(self, mix: AskedMix) -> None:
        await self._watch.until(mix.mix_id, {MixStatus.MIXING, MixStatus.DONE})

    async def _act(self, mix: AskedMix, action: str, *, by: ScriptedUser | None = None) -> None:
        path, body = f"/v1/mixes/{mix.mix_id}/{action}", {"note": "soak"} if by else None
        async with self._gate:
            try:
                await _patiently(
                    lambda: call(by or mix.user, "POST", path, body, needs_code=by is not None)
                )
            except ApiProblem as problem:
                # It is done by now, or the answer of an earlier try was lost.
                if problem.code != MixStateError.code:
                    raise

    async def _pay(self, mix: AskedMix, amount_minor: int) -> None:
        async with self._gate:
            if mix.asset == JOB:
                reference = f"{mix.mix_id}-{len(mix.minted)}"
                txid = await self._mint(mix.deposit_address, amount_minor, reference)
                mix.minted[txid] = amount_minor
            else:
                await self.bank.depositors.pay_to(
                    mix.user.user_id, mix.asset, amount_minor, mix.deposit_address
                )

    async def _mint(self, address: str, amount_minor: int, reference: str) -> str:
        while True:
            # The reference stays the same: however often it is asked for, it is paid once.
            with suppress(StackError, httpx.HTTPError):
                return await self._minter.mint(address, amount_minor, reference=reference)
            await asyncio.sleep(RETRY_S)

    async def pay_again_what_vanished(self) -> None:
        """Pay again what a killed node forgot, time and again until cancelled."""
        while True:
            # A node that is away is asked again.
            with suppress(StackError, StrongroomError, httpx.HTTPError):
                await self.bank.depositors.resend_vanished()
            await asyncio.sleep(10 * RETRY_S)

    def unfinished(self) -> Collection[AskedMix]:
        """Return the mixes that have not come to their end, as far as the watch has seen."""
        return [mix for mix in self.asked if not self._is_over(mix)]

    def _is_over(self, mix: AskedMix) -> bool:
        seen = self._watch.standings.get(mix.mix_id)
        if seen is None:
            return False
        is_decided = seen.decided >= mix.takes and seen.decided == seen.deposits
        return seen.status == mix.way.end and is_decided


async def _patiently[T](ask: Callable[[], Awaitable[T]]) -> T:
    """Ask beyond a scripted user's patience: a worker that was killed has all mixes to load."""
    while True:
        try:
            return await ask()
        except httpx.TransportError:
            continue
        except ApiProblem as problem:
            if problem.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise


def _amount_minor(asset: str, dice: random.Random) -> int:
    """Return an amount that nobody else pays in."""
    unit = UNITS[asset]
    return unit * dice.randint(LEAST, MOST) + dice.randrange(unit)
