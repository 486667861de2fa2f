"""
Mixes per second on a whole stack, beside payouts of as much to as many.

Rates belong to this machine and this run. Both sides are asked for by the update that the API
sends, settle on the same Jobcoin node, and are given time to show what the machine can do: windows
and blocks take seconds whoever waits for them, so all are on their way at once.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from eth_utils.crypto import keccak
from sqlalchemy import func
from sqlmodel import col, select
from temporalio.client import Client

from api.mix_workflows import MixWorkflows
from api.payout_workflows import PayoutWorkflows
from benchmarks import payouts
from deposits.addresses import AddressRequest, issue
from devnet.funding import fund
from devnet.levels import decree_level
from devnet.mixers import local_policy
from devnet.rich_minter import RichMinter
from devnet.site import JOBCOIN_CHAIN, NAMESPACE, Site
from domain.clock import SystemClock
from domain.ids import MIX, USER, derived_id, new_id
from domain.jobcoin.addresses import address_of
from domain.jobcoin.chain import ASSET as JOB
from domain.jobcoin.chain import UNIT_MINOR as JOB_UNIT
from domain.mixing.messages import LEVEL_MIN, MixRequest, MixStatus
from domain.workflow_ids import mix_workflow_id
from infra import temporal
from infra.database import Database
from mixers.registry import create_mixer
from models.identity import User
from models.mixing import Mix, MixDole

CLOCK = SystemClock()
MIXES = 200
USERS = 20
ADDRESSES = 5
UNITS_MIN, UNITS_MAX = 5, 12
"""Paid in."""

OPENED_AT_ONCE = 40
PAID_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class MixingRates:
    """What was measured."""

    mixes_per_s: float
    """From the first opening to the last settlement, all at once, over a window of one slot."""
    doles_per_s: float
    payouts_per_s: float
    """Of as many payouts, each on its own, before and after; the mean."""

    @property
    def doleouts_vs_payouts(self) -> float:
        """Dole-outs per second, openings and deposits included, beside payouts per second."""
        return self.doles_per_s / self.payouts_per_s


async def measure(site: Site, *, mixes: int = MIXES) -> MixingRates:
    """Enlist users, make a hasty mixer, and let both sides run in turn."""
    client = await temporal.connect(
        address=site.temporal_address, namespace=NAMESPACE, codec_keys=site.secrets.codec_keys
    )
    owner = Database(site.database_url())
    api = Database(site.database_url("strongroom_api"))
    users = await _users(site, owner)
    bench = _Bench(site, client, owner, api, users, await _hasty_mixer(owner))
    await bench.mixed(1)
    # Nobody knows how many parts are drawn: half of the payouts come first, by what is likely.
    half = mixes * ADDRESSES
    before_s = await bench.paid(half)
    took_s, doles = await bench.mixed(mixes)
    rest = max(1, doles - half)
    after_s = await bench.paid(rest)
    await owner.close()
    await api.close()
    return MixingRates(mixes / took_s, doles / took_s, (half + rest) / (before_s + after_s))


@dataclass(frozen=True, slots=True)
class _Bench:
    """A stack, and users on it who may mix and pay."""

    site: Site
    client: Client
    owner: Database
    api: Database
    users: Sequence[str]
    mixer_id: str

    async def mixed(self, count: int) -> tuple[float, int]:
        """Take so many mixes from their opening to their end; return seconds, and dole-outs."""
        gate, began = asyncio.Semaphore(OPENED_AT_ONCE), time.perf_counter()
        await asyncio.gather(*(self._mix(number, gate) for number in range(count)))
        took_s = time.perf_counter() - began
        async with self.owner.transaction() as session:
            newest = select(Mix.id).order_by(col(Mix.created_at).desc()).limit(count)
            doles = await session.exec(
                select(func.count(col(MixDole.id))).where(col(MixDole.mix_id).in_(newest))
            )
            return took_s, doles.one()

    async def paid(self, count: int) -> float:
        """Pay so many payouts of a part's size; return the seconds."""
        workflows = PayoutWorkflows(self.client, timeout=payouts.ACCEPT_TIMEOUT)
        pay = partial(
            payouts.pay_one,
            self.client,
            workflows,
            self.users[0],
            asset=JOB,
            amount_minor=JOB_UNIT,
            recipient=partial(address_of, chain_id=JOBCOIN_CHAIN),
        )
        return count / await payouts.rate(pay, count, payouts.IN_FLIGHT)

    async def _mix(self, number: int, gate: asyncio.Semaphore) -> None:
        user_id, key = self.users[number % len(self.users)], new_id("bench")
        mix_id = derived_id(MIX, user_id, key)
        async with gate:
            address = await self._opened(user_id, key, mix_id)
            amount_minor = JOB_UNIT * (UNITS_MIN + number % (1 + UNITS_MAX - UNITS_MIN)) + number
            await RichMinter.of(self.site).mint(address, amount_minor, reference=mix_id)
        status = await self.client.get_workflow_handle(mix_workflow_id(mix_id)).result()
        assert status == MixStatus.DONE, status

    async def _opened(self, user_id: str, key: str, mix_id: str) -> str:
        asked = AddressRequest(user_id, JOB, "mix", user_id, f"mix:{key}")
        async with self.api.transaction() as session:
            deposit = await issue(session, asked, clock=CLOCK)
        fresh = [keccak(text=f"{key} {place}")[:20] for place in range(ADDRESSES)]
        workflows = MixWorkflows(self.client, timeout=timedelta(seconds=60))
        accepted = await workflows.request(
            MixRequest(
                mix_id=mix_id,
                user_id=user_id,
                principal=user_id,
                idempotency_key=key,
                request_hash=key,
                mixer_id=self.mixer_id,
                address_id=deposit.row.id,
                addresses=tuple(address_of(each, JOBCOIN_CHAIN) for each in fresh),
                parts_asked=ADDRESSES,
                second_factor="totp",
            )
        )
        assert accepted.status == MixStatus.AWAITING_FUNDS, accepted
        return deposit.row.address


async def _users(site: Site, database: Database) -> list[str]:
    """Return users who may mix; the first has money to pay with."""
    ids, now = [new_id(USER) for _ in range(USERS)], CLOCK.now()
    async with database.transaction() as session:
        session.add_all(
            User(id=each, email=f"{each}@bench", password_hash="", created_at=now) for each in ids
        )
    await decree_level(site, ids, level=LEVEL_MIN)
    await fund(site, asset_code=JOB, shares={ids[0]: 100 * MIXES * JOB_UNIT})
    return ids


async def _hasty_mixer(database: Database) -> str:
    """Make a mixer whose window is one slot; return its id."""
    terms = local_policy(unit_minor=JOB_UNIT, fee=(1, 100))
    hasty = terms.model_copy(update={"delay_min_s": 0, "window_s": terms.slot_s})
    async with database.transaction() as session:
        mixer = await create_mixer(
            session, asset_code=JOB, name="bench", policy=hasty, by=None, clock=CLOCK
        )
        return mixer.id
