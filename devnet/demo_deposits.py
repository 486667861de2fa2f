"""The part of the demo where money comes in: addresses, deposits, confirmations, and the sweep."""

import asyncio
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from devnet.bootstrap import BTC, BTC_DECIMALS, BTC_UNIT, ETHER, ETHER_DECIMALS, ETHER_UNIT
from devnet.errors import StackError
from devnet.funding import send
from devnet.people import ScriptedUser, insist
from devnet.stack import Stack
from domain.deposits import DepositStatus
from domain.money import format_units
from infra.database import Database
from models.wallets import Asset

PATIENCE_S = 90.0
POLL_S = 0.3

DEPOSITS = ((BTC, BTC_UNIT // 2), (ETHER, ETHER_UNIT))
"""What arrives at an address of each of the first users, in minor units."""

DECIMALS = {BTC: BTC_DECIMALS, ETHER: ETHER_DECIMALS}


async def receive(stack: Stack, users: Sequence[ScriptedUser], out: Console) -> None:
    """Let users be paid at addresses of their own, with the worker killed while it happens."""
    expected: dict[str, ScriptedUser] = {}
    worker = stack.process("worker")
    for user, (asset, amount_minor) in zip(users, DEPOSITS, strict=False):
        address = await asyncio.to_thread(_address, user, asset)
        out.print(f"  {user.name} shows {address} for {asset}", highlight=False)
        if not expected:
            worker.kill()
            out.print("  [red]SIGKILL[/red] to worker: the deposits arrive while nobody looks")
        txid = await _pay(stack, asset, address, amount_minor)
        amount = format_units(amount_minor, decimals=DECIMALS[asset])
        out.print(f"  somebody sent {amount} {asset} in {txid}", highlight=False)
        expected[txid] = user
    await worker.restart_until_ready()
    out.print("  worker is back", highlight=False)
    await _until_credited(expected, out)


def _address(user: ScriptedUser, asset: str) -> str:
    answer = insist(
        lambda: user.api.send(
            "POST",
            "/v1/deposit-addresses",
            {"asset": asset, "label": "demo"},
            idempotency_key=f"demo-address-{user.name}-{asset}",
        )
    )
    return str(answer["address"])


async def _pay(stack: Stack, asset_code: str, address: str, amount_minor: int) -> str:
    database = Database(stack.site.database_url())
    try:
        async with database.transaction() as session:
            asset = await session.get_one(Asset, asset_code)
        return await send(stack.site, asset, address, amount_minor)
    finally:
        await database.close()


async def _until_credited(expected: dict[str, ScriptedUser], out: Console) -> None:
    """Show each deposit's confirmations until all are on the balances."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    with Live(console=out, refresh_per_second=4, transient=True) as live:
        while True:
            found = [await asyncio.to_thread(_deposit, u, txid) for txid, u in expected.items()]
            live.update(_progress(found))
            if all(d and d["status"] == DepositStatus.CREDITED for d in found):
                break
            if asyncio.get_running_loop().time() > deadline:
                msg = f"After {PATIENCE_S:g} s some deposits are not credited: {found}"
                raise StackError(msg)
            await asyncio.sleep(POLL_S)
    for deposit in found:
        assert deposit is not None
        out.print(
            f"  {deposit['id']}: {deposit['amount']} {deposit['asset']}"
            f" credited after {deposit['confirmations_required']} confirmations",
            highlight=False,
        )


def _deposit(user: ScriptedUser, txid: str) -> dict[str, Any] | None:
    answer = insist(lambda: user.api.get("/v1/deposits"))
    return next((item for item in answer["items"] if item["txid"] == txid), None)


def _progress(found: Sequence[dict[str, Any] | None]) -> Table:
    table = Table(box=None, show_header=False)
    for deposit in found:
        if deposit is None:
            table.add_row("…", "not seen yet", "")
        else:
            depth = f"{deposit['confirmations']}/{deposit['confirmations_required']}"
            table.add_row(deposit["id"], deposit["status"], depth)
    return table
