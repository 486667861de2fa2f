"""
Bulk payouts on a local stack: a file of payments, its way to the end, and what arrived.

Every payment goes to an address that nobody used before, so what an address holds is what was paid.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import batched
from typing import Any

import httpx
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from devnet.errors import StackError
from devnet.people import ScriptedUser
from devnet.rich_miner import RichMiner
from devnet.rich_minter import RichMinter
from devnet.site import Site
from domain.errors import DatabaseUnavailableError
from domain.evm_calls import balance_of_data
from domain.jobcoin.addresses import address_of as jobcoin_address
from domain.jobcoin.addresses import is_jobcoin
from domain.payouts import PayoutStatus
from domain.runs import RunStatus
from domain.utxo.networks import NETWORKS
from domain.utxo.scripts import address_of
from infra.database import Database
from models.runs import PayoutRun
from models.wallets import Asset
from runs.moves import counts_of

ASKED_AT_ONCE = 500
"""Balances that one question to a node is about."""

Counts = dict[PayoutStatus, int]
"""How many lines are in each status."""

POLL_S = 0.25
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Payment:
    """A line of a file: what is to arrive, in minor units, and where."""

    destination: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class RunFindings:
    """What became of the payments of a run; each count must be zero."""

    doubled: tuple[Payment, ...]
    """More arrived than was asked for."""
    missing: tuple[Payment, ...]
    """Less arrived, or nothing."""

    @property
    def is_clean(self) -> bool:
        """Tell whether everybody got what was asked for, once."""
        return not (self.doubled or self.missing)


def payments(asset: Asset, count: int, *, name: str, least_minor: int) -> tuple[Payment, ...]:
    """Return payments to fresh addresses of the asset's chain; no two of the first 997 alike."""
    return tuple(
        Payment(_fresh_address(asset, f"{name} {number}"), least_minor + number % 997)
        for number in range(count)
    )


def csv_of(asset: Asset, paid: Sequence[Payment]) -> bytes:
    """Return the file that asks for these payments."""
    rows = [f"{p.destination},{asset.code},{p.amount_minor}" for p in paid]
    return "\n".join(["destination,asset,amount_minor", *rows, ""]).encode()


async def run_paid(
    user: ScriptedUser,
    approvers: Sequence[ScriptedUser],
    *,
    content: bytes,
    name: str,
) -> str:
    """Upload a file, start it, have it approved by all of these, and return the run's id."""
    run_id = await asyncio.to_thread(user.upload_run, content, name=name)
    standing = await asyncio.to_thread(user.start_run, run_id, idempotency_key=name)
    for approver in approvers:
        if standing == RunStatus.AWAITING_APPROVAL:
            standing = await asyncio.to_thread(approver.approve_run, run_id)
    return run_id


async def finished(site: Site, run_id: str, *, patience_s: float) -> Counts:
    """Return how many lines are in each status once the run is finished; raises as ``until``."""
    return await until(site, run_id, _is_finished, patience_s=patience_s)


async def until(
    site: Site,
    run_id: str,
    is_reached: Callable[[RunStatus, Counts], bool],
    *,
    patience_s: float,
) -> Counts:
    """
    Return how many lines are in each status once the run stands where it is waited for.

    A database that is away is waited for too.

    Raises:
        StackError: It did not come to that in this time.
    """
    database = Database(site.database_url())
    deadline = asyncio.get_running_loop().time() + patience_s
    status, counts = RunStatus.DRAFT, Counts()
    try:
        while asyncio.get_running_loop().time() < deadline:
            with suppress(DatabaseUnavailableError):
                status, counts = await _standing(database, run_id)
            if is_reached(status, counts):
                return counts
            await asyncio.sleep(POLL_S)
    finally:
        await database.close()
    msg = f"{run_id} is {status} after {patience_s:g} s: {counts}"
    raise StackError(msg)


async def _standing(database: Database, run_id: str) -> tuple[RunStatus, Counts]:
    async with database.transaction() as session:
        run = await session.get_one(PayoutRun, run_id)
        counts = await counts_of(session, run_id)
        return RunStatus(run.status), {PayoutStatus(s): count for s, count in counts.items()}


def _is_finished(status: RunStatus, counts: Counts) -> bool:
    del counts
    return status == RunStatus.FINISHED


async def asset_of(site: Site, code: str) -> Asset:
    """Return an asset of the catalog."""
    database = Database(site.database_url())
    try:
        async with database.transaction() as session:
            return await session.get_one(Asset, code)
    finally:
        await database.close()


async def findings_of(site: Site, asset: Asset, paid: Sequence[Payment]) -> RunFindings:
    """Compare what each address holds on its chain with what was to be paid there."""
    arrived = await arrived_minor(site, asset, [p.destination for p in paid])
    return RunFindings(
        doubled=tuple(p for p in paid if arrived[p.destination] > p.amount_minor),
        missing=tuple(p for p in paid if arrived[p.destination] < p.amount_minor),
    )


async def arrived_minor(site: Site, asset: Asset, addresses: Sequence[str]) -> Mapping[str, int]:
    """Return what each of these addresses holds, as the chain's node says."""
    if is_jobcoin(asset.home_chain_id):
        return await RichMinter.of(site).balances_minor(addresses)
    if asset.home_chain_id not in NETWORKS:
        return dict(zip(addresses, await _evm_balances(site, asset, addresses), strict=True))
    miner = RichMiner(site.rpc_urls[asset.home_chain_id][0], NETWORKS[asset.home_chain_id])
    try:
        return await miner.balances_minor(addresses)
    finally:
        await miner.close()


async def _evm_balances(site: Site, asset: Asset, addresses: Sequence[str]) -> list[int]:
    found: list[int] = []
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
        for some in batched(addresses, ASKED_AT_ONCE):
            answer = (await client.post(site.evm_url, json=list(_questions(asset, some)))).json()
            by_id = {each["id"]: each["result"] for each in answer}
            found += [int(by_id[place], 16) for place in range(len(some))]
    return found


def _questions(asset: Asset, addresses: Sequence[str]) -> Iterator[dict[str, Any]]:
    for place, address in enumerate(addresses):
        question: dict[str, Any] = {"method": "eth_getBalance", "params": [address, "latest"]}
        if asset.contract_address is not None:
            data = "0x" + balance_of_data(address).hex()
            call = {"to": asset.contract_address, "data": data}
            question = {"method": "eth_call", "params": [call, "latest"]}
        yield {"jsonrpc": "2.0", "id": place, **question}


def _fresh_address(asset: Asset, name: str) -> str:
    digest = keccak(text=name)
    if network := NETWORKS.get(asset.home_chain_id):
        return address_of(b"\x00\x14" + digest[:20], network)
    if is_jobcoin(asset.home_chain_id):
        return jobcoin_address(digest[:20], asset.home_chain_id)
    return str(to_checksum_address(digest[:20]))
