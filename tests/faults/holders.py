"""People with pockets: what they moved to, from and out of them, and what must be where."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import text

from cli.client import ApiProblem
from devnet.bootstrap import BITCOIN_CHAIN, BTC, ETHER, ETHER_UNIT, TOKEN, TOKEN_UNIT
from devnet.people import ScriptedUser, with_code
from devnet.reconcile import on_chain_minor
from domain.errors import AlreadyDecidedError, DatabaseUnavailableError
from domain.payouts import PayoutStatus
from domain.pockets import Route
from infra.database import Database
from ledger import chart
from tests.faults.bank import OPENING_MINOR, Asked, Bank, recipient_of
from tests.faults.findings import Findings

PATIENCE_S = 240.0
POLL_S = 0.5


@dataclass(frozen=True)
class Plan:
    """What a holder does with one asset, one after the other, in minor units."""

    asset: str
    fund_minor: int
    redeem_minor: int
    send_minor: int


PLANS = (
    Plan(ETHER, ETHER_UNIT * 9 // 100, ETHER_UNIT // 100, ETHER_UNIT // 100),
    Plan(TOKEN, 90 * TOKEN_UNIT, 20 * TOKEN_UNIT, 30 * TOKEN_UNIT),
    Plan(BTC, 2_000_000, 500_000, 300_000),
    # These ask an approver, on the way in and on the way out.
    Plan(ETHER, ETHER_UNIT * 4 // 10, ETHER_UNIT // 10, ETHER_UNIT * 15 // 100),
    Plan(TOKEN, 600 * TOKEN_UNIT, 100 * TOKEN_UNIT, 300 * TOKEN_UNIT),
)
STEPS = 3

_MOVED = text("""
    SELECT id, user_id, asset, chain_id, route, status, amount_minor, fee_minor,
           left_booked_minor, arrived_booked_minor, coalesce(network_fee_minor, 0),
           gas_hold_id IS NOT NULL
    FROM payout WHERE route <> 'payout' AND status <> 'refused'
""")
_POCKETS = text("SELECT user_id, chain_id, address FROM chain_address WHERE purpose = 'pocket'")
_BALANCES = text("SELECT code, asset, balance_minor FROM ledger_account")

Balances = dict[tuple[str, str], int]
"""By account and asset."""


@dataclass(frozen=True)
class Moved:
    """A transfer as its row has it."""

    transfer_id: str
    user_id: str
    asset: str
    chain_id: str
    route: Route
    status: PayoutStatus
    amount_minor: int
    fee_minor: int
    left_minor: int
    arrived_minor: int
    network_fee_minor: int
    pays_gas: bool

    def is_booked(self, amount_minor: int) -> bool:
        """Tell whether each side is in the books once; what a stranger has is not in them."""
        arrived_minor = 0 if self.route == Route.SEND else amount_minor
        return (self.left_minor, self.arrived_minor) == (amount_minor, arrived_minor)


class Holders:
    """People who fund their pockets, redeem from them and send from them."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.people: list[ScriptedUser] = []
        self.asked: list[Asked] = []
        """What goes to strangers is in the bank's list as well, which looks at the chain."""

    async def open(self, *, people: int) -> None:
        """Enlist them, with money."""
        self.people = await self.bank.enlist([f"holder{n}" for n in range(people)])
        if self.people:
            await self.bank.provide([user.user_id for user in self.people])

    async def play(self, number: int, dice: random.Random) -> None:
        """Have one holder go through a plan, each step after the one before has settled."""
        user, plan = self.people[number], PLANS[number % len(PLANS)]
        await asyncio.sleep(dice.uniform(0.0, 5.0))
        for route, minor in (
            (Route.FUND, plan.fund_minor),
            (Route.REDEEM, plan.redeem_minor),
            (Route.SEND, plan.send_minor),
        ):
            if not await self.move(user, plan.asset, route, minor):
                return

    async def move(self, user: ScriptedUser, asset: str, route: Route, amount_minor: int) -> bool:
        """Move money, and tell whether it has ended in time; what was asked for is judged later."""
        asked = await self._ask(user, asset, route, amount_minor)
        return await self._has_settled(asked.payout_id)

    @property
    def sends(self) -> int:
        """How many of the transfers went to strangers."""
        return sum(asked in self.bank.asked for asked in self.asked)

    async def are_done(self) -> bool:
        """Tell whether every transfer has ended."""
        known = await self.bank.statuses()
        return all(known.get(asked.payout_id, PayoutStatus.READY).is_final for asked in self.asked)

    async def findings(self) -> Findings:
        """Compare what was asked for with both sides of the books, and pockets with chains."""
        found = Findings()
        moved, pockets, balances = await self._read()
        known = {each.transfer_id: each for each in moved}
        wanted = {asked.payout_id for asked in self.asked}
        strange = [each for each in moved if each.transfer_id not in wanted]
        found.add(duplicates=[f"{each} was asked for by nobody" for each in strange])
        for asked in self.asked:
            row = known.get(asked.payout_id)
            if row is None or row.status != PayoutStatus.SETTLED:
                found.add(lost=[f"{asked}: {row}"])
            elif not row.is_booked(asked.amount_minor):
                found.add(unbalanced=[f"{asked} is booked as {row}"])
        found.add(unbalanced=self._off_chain(moved, balances))
        found.add(unbalanced=await self._on_chain(moved, pockets, balances))
        return found

    def _off_chain(self, moved: list[Moved], balances: Balances) -> list[str]:
        """Return where an off-chain balance is not what went in and out of it."""
        due = Counter[tuple[str, str]]()
        for user in self.people:
            for asset, minor in OPENING_MINOR.items():
                due[user.user_id, asset] = minor
        for each in moved:
            if each.route == Route.FUND:
                due[each.user_id, each.asset] -= each.amount_minor + each.fee_minor
            if each.route == Route.REDEEM:
                due[each.user_id, each.asset] += each.amount_minor
        notes = []
        for (user_id, asset), minor in due.items():
            accounts = (chart.available(user_id), chart.held(user_id))
            booked = sum(balances.get((account, asset), 0) for account in accounts)
            if booked != minor:
                notes.append(f"{user_id} has {booked} {asset} off the chain, not {minor}")
        return notes

    async def _on_chain(
        self, moved: list[Moved], pockets: list[tuple[str, str, str]], balances: Balances
    ) -> list[str]:
        """Return where a pocket is not what went in and out of it, or not what its chain says."""
        due = Counter[tuple[str, str]]()
        for each in moved:
            sign = 1 if each.route == Route.FUND else -1
            due[each.user_id, each.asset] += sign * each.amount_minor
            if each.pays_gas:
                native = BTC if each.chain_id == BITCOIN_CHAIN else ETHER
                due[each.user_id, native] -= each.network_fee_minor
        notes = []
        for user_id, chain_id, address in pockets:
            for asset in (BTC,) if chain_id == BITCOIN_CHAIN else (ETHER, TOKEN):
                accounts = (chart.onchain(user_id, chain_id), chart.onchain_held(user_id, chain_id))
                booked = sum(balances.get((account, asset), 0) for account in accounts)
                lent = balances.get((chart.pocket_gas(chain_id, user_id), asset), 0)
                held = await self._held_on_chain(asset, address)
                if (booked, booked + lent) != (due[user_id, asset], held):
                    notes.append(
                        f"the pocket {address} of {user_id} has {held} {asset}; {booked} are"
                        f" booked and {lent} lent, and it should have {due[user_id, asset]}"
                    )
        return notes

    async def _held_on_chain(self, asset: str, address: str) -> int:
        return await on_chain_minor(self.bank.stack.site, self.bank.assets[asset], [address])

    async def _ask(self, user: ScriptedUser, asset: str, route: Route, amount_minor: int) -> Asked:
        key = f"{self.bank.name}-{user.name}-{route}-{len(self.asked)}"
        body = {"route": str(route), "asset": asset, "amount": str(amount_minor)}
        if route == Route.SEND:
            body["destination"] = recipient_of(asset, key)
        answer = await asyncio.to_thread(
            with_code,
            user.authenticator,
            lambda code: user.api.send(
                "POST", "/v1/pocket-transfers", body, code=code, idempotency_key=key
            ),
        )
        asked = Asked(answer["id"], asset, amount_minor, body.get("destination", route))
        self.asked.append(asked)
        if route == Route.SEND:
            self.bank.asked.append(asked)
        if answer["status"] == PayoutStatus.AWAITING_APPROVAL:
            await self._approve(asked.payout_id)
        return asked

    async def _approve(self, transfer_id: str) -> None:
        approver = max(self.bank.approvers, key=lambda u: u.authenticator.codes_at_hand)
        path = f"/v1/pocket-transfers/{transfer_id}/approvals"
        try:
            await asyncio.to_thread(
                with_code,
                approver.authenticator,
                lambda code: approver.api.send("POST", path, {"note": None}, code=code),
            )
        except ApiProblem as problem:
            # The answer of an earlier try was lost; the decision was not.
            if problem.code != AlreadyDecidedError.code:
                raise

    async def _has_settled(self, transfer_id: str) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while loop.time() < deadline:
            with suppress(DatabaseUnavailableError):
                known = await self.bank.statuses()
                if known.get(transfer_id, PayoutStatus.READY).is_final:
                    return True
            await asyncio.sleep(POLL_S)
        return False

    async def _read(self) -> tuple[list[Moved], list[tuple[str, str, str]], Balances]:
        database = Database(self.bank.stack.site.database_url())
        try:
            async with database.snapshot() as session:
                moved = [Moved(*row) for row in await session.execute(_MOVED)]
                pockets = [(u, c, a) for u, c, a in await session.execute(_POCKETS)]
                rows = await session.execute(_BALANCES)
                return moved, pockets, {(code, asset): int(n) for code, asset, n in rows}
        finally:
            await database.close()
