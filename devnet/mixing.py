"""What scripts do with mixes: open one on the mixer of their choice, pay in, follow it, compare."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

from cli.client import ApiProblem
from devnet.asking import call, get, until
from devnet.bulk import arrived_minor, payments
from devnet.errors import StackError
from devnet.funding import send
from devnet.people import ScriptedUser
from devnet.site import Site
from domain.errors import SecondFactorRequiredError
from domain.mixing.messages import DoleStatus, MixStatus
from domain.mixing.sharding import Ring
from domain.payouts import PayoutStatus
from models.wallets import Asset


@dataclass(frozen=True, slots=True)
class OpenMix:
    """A mix, where it is paid in, and where it is to leave to."""

    user: ScriptedUser
    id: str
    mixer_id: str
    asset: Asset
    deposit_address: str
    addresses: tuple[str, ...]

    @classmethod
    def of(
        cls, user: ScriptedUser, asset: Asset, answer: Mapping[str, Any], *addresses: str
    ) -> Self:
        """Return the mix that the API answered with, and where it was asked to leave to."""
        place = (answer["id"], answer["mixer_id"], asset, answer["deposit_address"])
        return cls(user, *place, addresses)

    @property
    def path(self) -> str:
        """Where the API tells of it."""
        return f"/v1/mixes/{self.id}"


async def open_mix(user: ScriptedUser, asset: Asset, *, key: str, addresses: int = 3) -> OpenMix:
    """Have a user open a mix to so many addresses that nobody used before."""
    body = _request(user, asset, key, addresses)
    mix = await call(user, "POST", "/v1/mixes", body, needs_code=True, key=key)
    return OpenMix.of(user, asset, mix, *body["addresses"])


async def open_mix_on(
    user: ScriptedUser, asset: Asset, mixer_id: str, *, key: str, addresses: int = 3
) -> OpenMix:
    """
    Have a user open a mix that falls to this mixer.

    The hash of the deposit address decides. A request without a one-time code gets its address and
    is refused; it is asked under other keys until the address belongs to the mixer.
    """
    ring = Ring([mixer["id"] for mixer in await mixers_of(user, asset.code)])
    tries = (f"{key}-{number}" for number in count())
    tried = next(tries)
    while ring.mixer_of(await _deposit_address(user, asset, tried, addresses)) != mixer_id:
        tried = next(tries)
    mix = await open_mix(user, asset, key=tried, addresses=addresses)
    if mix.mixer_id != mixer_id:
        msg = f"{mix} is not on {mixer_id}, to which its deposit address belongs."
        raise StackError(msg)
    return mix


async def mixers_of(reader: ScriptedUser, asset: str) -> list[dict[str, Any]]:
    """Return an asset's mixers, the oldest first."""
    found = (await get(reader, "/v1/mixers"))["items"]
    return [mixer for mixer in found if mixer["asset"] == asset]


async def pay_in(site: Site, mix: OpenMix, amount_minor: int) -> str:
    """Pay development coins to a mix's deposit address; return the txid, which is mined."""
    return await send(site, mix.asset, mix.deposit_address, amount_minor)


async def until_taken(mix: OpenMix, *, patience_s: float = 90.0) -> dict[str, Any]:
    """Wait until what was paid in is in the house, and what it becomes is drawn."""
    return await until(mix.user, mix.path, lambda m: bool(m["doles"]), patience_s=patience_s)


async def until_over(mix: OpenMix, *, patience_s: float = 120.0) -> dict[str, Any]:
    """Wait until every part has left and is final on its chain."""
    return await until(
        mix.user, mix.path, lambda m: m["status"] == MixStatus.DONE, patience_s=patience_s
    )


async def faults_of(
    site: Site, mix: OpenMix, answer: Mapping[str, Any], *, paid_minor: int
) -> list[str]:
    """Return where a mix that is over differs from what was promised, its chain being asked."""
    arrived = await arrived_minor(site, mix.asset, mix.addresses)
    return differences(mix, answer, arrived, paid_minor=paid_minor)


def differences(
    mix: OpenMix, answer: Mapping[str, Any], arrived: Mapping[str, int], *, paid_minor: int
) -> list[str]:
    """
    Return where deposit, fee, parts and what arrived at each address differ, to the unit.

    Every address was to get something, nothing was to be anywhere else, and all is settled.
    """
    left = Counter[str]()
    for dole in answer["doles"]:
        left[dole["address"]] += int(dole["amount"])
    faults = [
        f"{address} has {arrived.get(address, 0)}, and {left[address]} was to be paid there"
        for address in sorted({*mix.addresses, *left})
        if arrived.get(address, 0) != left[address] or not left[address]
    ]
    ended = {(dole["status"], dole["payout_status"]) for dole in answer["doles"]}
    if ended != {(DoleStatus.RELEASED, PayoutStatus.SETTLED)}:
        faults.append(f"not every part is settled: {ended}")
    received, fee, doled = (int(answer[name]) for name in ("received", "fee", "doled"))
    if received != paid_minor or not paid_minor - fee == doled == left.total():
        found = f"{received} received, fee {fee}, {doled} doled, in parts {left.total()}"
        faults.append(f"{paid_minor} was paid in: {found}")
    return faults


def _request(user: ScriptedUser, asset: Asset, key: str, addresses: int) -> dict[str, Any]:
    fresh = payments(asset, addresses, name=f"{user.user_id} {key}", least_minor=1)
    return {"asset": asset.code, "addresses": [each.destination for each in fresh]}


async def _deposit_address(user: ScriptedUser, asset: Asset, key: str, addresses: int) -> str:
    """Return where a mix would be paid in that is asked for in this way."""
    try:
        await call(user, "POST", "/v1/mixes", _request(user, asset, key, addresses), key=key)
    except ApiProblem as problem:
        if problem.code != SecondFactorRequiredError.code:
            raise
    newest_first = (await get(user, "/v1/deposit-addresses"))["items"]
    return str(newest_first[0]["address"])
