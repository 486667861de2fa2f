"""
``strongroom demo``: deposits, payouts and mixes while processes are killed, and a journey.

It ends with books, chain and statement side by side, and with exit status 0 only if they agree.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from rich.console import Console
from rich.live import Live
from rich.table import Table

from devnet.bootstrap import BTC, BTC_UNIT, ETHER, ETHER_UNIT, TOKEN, TOKEN_UNIT, fill
from devnet.demo_deposits import receive
from devnet.demo_mixing import MixTour
from devnet.demo_mixing_report import print_mixes
from devnet.demo_report import print_report
from devnet.errors import StackError
from devnet.funding import fund
from devnet.journey import Journey
from devnet.journey_report import print_statement
from devnet.people import ScriptedUser, enlist, insist
from devnet.ports import Ports, is_free
from devnet.stack import ALL_SERVICES, Stack
from devnet.status import table as address_table
from domain.payouts import PayoutStatus
from domain.utxo.networks import BITCOIN_REGTEST
from domain.utxo.scripts import address_of
from infra.processes import stop_on_signals
from models.identity import Role

PATIENCE_S = 120.0
POLL_S = 0.3
VICTIMS = ("worker", "signer", "temporal")


@dataclass(frozen=True, slots=True)
class PlannedPayout:
    """One payout of the tour; the recipient is new, so that its balance tells all."""

    asset: str
    amount_minor: int
    approvals: int
    recipient: str
    asker: int | None = None
    """Which of the users asks; None is whoever has a code at hand."""


def plan() -> list[PlannedPayout]:
    """Return the payouts of the tour: small ones go by themselves, larger ones ask admins."""
    amounts = [
        *[(ETHER, ETHER_UNIT // 100 * n, 0) for n in range(1, 5)],
        *[(TOKEN, 7 * TOKEN_UNIT * n, 0) for n in range(1, 5)],
        (ETHER, ETHER_UNIT // 2, 1),
        (TOKEN, 5_000 * TOKEN_UNIT, 2),
    ]
    planned = [
        PlannedPayout(asset, amount_minor, approvals, _recipient(index))
        for index, (asset, amount_minor, approvals) in enumerate(amounts)
    ]
    # Alice alone has bitcoin; both payouts share a chain transaction, once her deposit is swept.
    planned += [
        PlannedPayout(BTC, BTC_UNIT // 10 * n, 0, _bitcoin_recipient(n), asker=0) for n in (1, 2)
    ]
    return planned


async def run_demo(folder: Path, *, keep: bool, out: Console) -> int:
    """Run the tour on a stack of its own; return the exit status."""
    stack = Stack(folder, ports=_ports(), block_time_s="1", prepare=fill, mixing=True)
    stack.erase()
    stop = stop_on_signals()
    try:
        out.rule(
            "Starting PostgreSQL, Temporal, an EVM node, a Bitcoin node, worker, signer and API"
        )
        await stack.up(lambda line: out.print(f"  {line}", markup=False, highlight=False))
        is_right = await _tour(stack, out)
        out.print(address_table(stack.site, ALL_SERVICES))
        if keep:
            out.print("The stack stays up until Ctrl-C.")
            await stop.wait()
        else:
            out.print(f"To look around: strongroom --state {folder} up --mixing")
    except StackError as error:
        out.print(f"{error.code}: {error}", style="red", markup=False)
        return 1
    finally:
        await stack.down()
    return 0 if is_right else 1


async def _tour(stack: Stack, out: Console) -> bool:
    out.rule("People: four users, three approvers, each with an authenticator")
    users = [await enlist(stack.site, name) for name in ("alice", "bob", "carol", "dora")]
    approvers = [
        await enlist(stack.site, name, [Role.APPROVER]) for name in ("erin", "frank", "grace")
    ]
    out.rule("Money: the hot wallet is funded on the chain, and each user's books with it")
    await _fund(stack, users, out)
    out.rule("Deposits: alice and bob are paid at addresses of their own")
    await receive(stack, users, out)
    journey = Journey(stack.site, await enlist(stack.site, "nora"), users[1], approvers[2])
    walking = asyncio.create_task(journey.walk())
    mixes = MixTour(stack.site, approvers[1])
    opening = asyncio.create_task(mixes.open())
    out.rule("Twelve payouts: by themselves, by one approver, by two of three")
    planned = plan()
    asked = await _ask(planned, users, out)
    out.rule("Four mixes of two users with KYC level 2, on three mixers; time is compressed")
    await opening
    await mixes.pay_in(out)
    mixing = asyncio.create_task(mixes.follow())
    out.rule("Killing, while payouts are approved and mixes leave in parts")
    killing = asyncio.create_task(_kill(stack, mixes, out))
    await _approve(planned, asked, approvers, out)
    await killing
    out.rule("Waiting for every payout to end")
    await _until_final(asked, approvers[0], out)
    out.rule("A new user meanwhile: KYC, purchases, a transfer, a wallet of their own, a payout")
    journey_is_right = await _arrive(journey, walking, out)
    out.rule("The mixes: what an observer of the chain sees, and what every mix came to")
    await mixing
    mixes_are_right = await print_mixes(mixes, out)
    mixes.invite(out)
    out.rule("What the chain says, what the books say")
    observer = approvers[0]
    books_are_right = await print_report(stack.site, planned, asked, observer=observer, out=out)
    return journey_is_right and mixes_are_right and books_are_right


async def _arrive(journey: Journey, walking: asyncio.Task[None], out: Console) -> bool:
    """Wait until the user has walked the whole way, through all the killing; print what it left."""
    await walking
    for line in journey.said:
        out.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    return await print_statement(journey, out)


async def _fund(stack: Stack, users: Sequence[ScriptedUser], out: Console) -> None:
    ether: dict[str | None, int] = {user.user_id: 2 * ETHER_UNIT for user in users}
    # Gas is paid from the operator's own coins.
    ether[None] = ETHER_UNIT
    txid = await fund(stack.site, asset_code=ETHER, shares=ether)
    out.print(f"  9 {ETHER} arrived in {txid}", highlight=False)
    tokens: dict[str | None, int] = {user.user_id: 10_000 * TOKEN_UNIT for user in users}
    txid = await fund(stack.site, asset_code=TOKEN, shares=tokens)
    out.print(f"  40000 {TOKEN} arrived in {txid}", highlight=False)


async def _ask(
    planned: Sequence[PlannedPayout], users: Sequence[ScriptedUser], out: Console
) -> list[str]:
    asked = []
    for index, payout in enumerate(planned):
        user = _asker(users) if payout.asker is None else users[payout.asker]
        body = {
            "asset": payout.asset,
            "amount": str(payout.amount_minor),
            "destination": payout.recipient,
        }
        payout_id = await asyncio.to_thread(user.ask_payout, body, idempotency_key=f"demo-{index}")
        out.print(f"  {user.name} asked for {payout_id}", highlight=False)
        asked.append(payout_id)
    return asked


def _asker(users: Sequence[ScriptedUser]) -> ScriptedUser:
    """Return whoever need not wait for a code; the first keeps theirs for what they alone have."""
    other = max(users[1:], key=lambda user: user.authenticator.codes_at_hand)
    return other if other.authenticator.codes_at_hand else users[0]


async def _kill(stack: Stack, mixes: MixTour, out: Console) -> None:
    for name in VICTIMS:
        mixes.note_kill(name)
        stack.process(name).kill()
        out.print(f"  [red]SIGKILL[/red] to {name}")
        await stack.process(name).restart_until_ready()
        out.print(f"  {name} is back", highlight=False)


async def _approve(
    planned: Sequence[PlannedPayout],
    asked: Sequence[str],
    approvers: Sequence[ScriptedUser],
    out: Console,
) -> None:
    for payout, payout_id in zip(planned, asked, strict=True):
        for approver in approvers[: payout.approvals]:
            status = await asyncio.to_thread(approver.approve, payout_id)
            out.print(f"  {approver.name} approved {payout_id}: {status}", highlight=False)


async def _until_final(asked: Sequence[str], observer: ScriptedUser, out: Console) -> None:
    """Show what each payout waits for until none waits for anything."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    with Live(console=out, refresh_per_second=4, transient=True) as live:
        while True:
            answers = [
                await asyncio.to_thread(_explained, observer, payout_id) for payout_id in asked
            ]
            live.update(_progress(answers))
            if all(PayoutStatus(answer["status"]).is_final for answer in answers):
                return
            if asyncio.get_running_loop().time() > deadline:
                waiting = [a["explanation"] for a in answers if a["waiting_for"]]
                msg = f"After {PATIENCE_S:g} s some payouts still wait: {waiting}"
                raise StackError(msg)
            await asyncio.sleep(POLL_S)


def _explained(observer: ScriptedUser, payout_id: str) -> dict[str, str]:
    answer: dict[str, str] = insist(lambda: observer.api.get(f"/v1/payouts/{payout_id}/explain"))
    return answer


def _progress(answers: Sequence[dict[str, str]]) -> Table:
    table = Table(box=None, show_header=False)
    for answer in answers:
        table.add_row(answer["payout_id"], answer["status"], answer["explanation"])
    return table


def _recipient(index: int) -> str:
    return str(to_checksum_address(keccak(text=f"demo recipient {index}")[:20]))


def _bitcoin_recipient(index: int) -> str:
    """Return a taproot address that nobody has a key to (BIP341)."""
    program = sha256(f"demo recipient {index}".encode()).digest()
    return address_of(b"\x51\x20" + program, BITCOIN_REGTEST)


def _ports() -> Ports:
    """Return the usual ports where they are free, others where they are not."""
    usual = Ports()
    return usual if all(is_free(port) for port in asdict(usual).values()) else Ports.free()
