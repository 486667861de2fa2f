"""A stack with users and money, whose payouts each go to a recipient of their own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from sqlmodel import col, select

from devnet.bootstrap import BTC, BTC_UNIT, ETHER, ETHER_UNIT, TOKEN, TOKEN_UNIT
from devnet.bulk import arrived_minor, asset_of, csv_of, payments
from devnet.funding import fund
from devnet.people import ScriptedUser, enlist
from devnet.reconcile import reconcile
from devnet.stack import Stack
from domain.errors import DatabaseUnavailableError
from domain.ids import PAYOUT, derived_id
from domain.payouts import PayoutStatus
from domain.runs import RunStatus
from domain.utxo.networks import BITCOIN_REGTEST
from domain.utxo.scripts import address_of
from infra.database import Database
from models.chain_transactions import ChainTransaction, ChainTransactionStatus
from models.identity import Role
from models.payouts import Payout
from models.runs import PayoutRun
from models.wallets import Asset
from tests.faults.depositors import Depositors, Sent
from tests.faults.findings import Findings
from tests.faults.limits import miscounted

ENLISTED_AT_ONCE = 4
POLL_S = 0.3
STILLNESS_S = 60.0
ENDED = (
    ChainTransactionStatus.CONFIRMED,
    ChainTransactionStatus.REVERTED,
    ChainTransactionStatus.ABANDONED,
)
BITCOIN_COINS = 8
FIRST_LINE = 2
"""The header is line 1."""


@dataclass(frozen=True)
class Asked:
    """A payout that was asked for, and what must come of it."""

    payout_id: str
    asset: str
    amount_minor: int
    recipient: str
    must_be: frozenset[PayoutStatus] = frozenset({PayoutStatus.SETTLED})


OPENING_MINOR = {
    ETHER: 2 * ETHER_UNIT,
    TOKEN: 10_000 * TOKEN_UNIT,
    BTC: BTC_UNIT // 10 // BITCOIN_COINS * BITCOIN_COINS,
}
"""What every user has at the beginning."""

LEAST_MINOR = {ETHER: ETHER_UNIT // 10**5, TOKEN: TOKEN_UNIT // 100, BTC: 1_500}
"""What a line of a run pays at least."""


class Bank:
    """The stack, its people, and what they asked for."""

    def __init__(self, stack: Stack, *, name: str) -> None:
        self.stack = stack
        self.name = name
        self.users: list[ScriptedUser] = []
        self.approvers: list[ScriptedUser] = []
        self.operator: ScriptedUser
        self.asked: list[Asked] = []
        self.lines: list[Asked] = []
        """What runs pay, line by line."""
        self.runs: list[str] = []
        self.assets: dict[str, Asset] = {}
        self.depositors = Depositors(stack.site)
        self._recipients = self._runs = 0
        self._deposits = 0

    async def open(self, *, users: int, approvers: int = 3) -> None:
        """Enlist people, and give every user what ``OPENING_MINOR`` says."""
        self.users = await self.enlist([f"user{n}" for n in range(users)])
        names = [f"approver{n}" for n in range(approvers)]
        self.approvers = await self.enlist(names, [Role.APPROVER])
        (self.operator,) = await self.enlist(["operator"], [Role.OPERATOR])
        for code in LEAST_MINOR:
            self.assets[code] = await asset_of(self.stack.site, code)
        await self.provide([user.user_id for user in self.users], None)

    async def enlist(self, names: Sequence[str], roles: Sequence[Role] = ()) -> list[ScriptedUser]:
        """Make users, several at once, with a second factor each."""
        gate = asyncio.Semaphore(ENLISTED_AT_ONCE)

        async def one(name: str) -> ScriptedUser:
            async with gate:
                return await enlist(self.stack.site, name, roles)

        return list(await asyncio.gather(*(one(name) for name in names)))

    async def provide(self, user_ids: Sequence[str], *capital: None) -> None:
        """Give these users money, and us capital where that is asked for."""
        who: list[str | None] = [*user_ids, *capital]
        for code, minor in OPENING_MINOR.items():
            # Several coins, so that several batches can be on their way at once.
            times = BITCOIN_COINS if code == BTC else 1
            for _ in range(times):
                shares = dict.fromkeys(who, minor // times)
                await fund(self.stack.site, asset_code=code, shares=shares)

    async def deposit(self, asset: str, amount_minor: int) -> Sent:
        """Have a stranger pay a fresh address of one of the users."""
        self._deposits += 1
        user = self.users[self._deposits % len(self.users)]
        key = f"{self.name}-deposit-{self._deposits}"
        return await self.depositors.pay(user, asset, amount_minor, key=key)

    async def ask(
        self,
        *,
        asset: str,
        amount_minor: int,
        must_be: PayoutStatus | frozenset[PayoutStatus] = PayoutStatus.SETTLED,
    ) -> Asked:
        """Have the user with most codes at hand ask for a payout to a new recipient."""
        self._recipients += 1
        recipient = recipient_of(asset, f"{self.name} {self._recipients}")
        key = f"{self.name}-{self._recipients}"
        user = max(self.users, key=lambda u: u.authenticator.codes_at_hand)
        body = {"asset": asset, "amount": str(amount_minor), "destination": recipient}
        payout_id = await asyncio.to_thread(user.ask_payout, body, idempotency_key=key)
        wanted = must_be if isinstance(must_be, frozenset) else frozenset({must_be})
        asked = Asked(payout_id, asset, amount_minor, recipient, wanted)
        self.asked.append(asked)
        return asked

    async def upload(
        self,
        asset_code: str,
        lines: int,
        *,
        least_minor: int | None = None,
        must_be: PayoutStatus = PayoutStatus.SETTLED,
    ) -> tuple[ScriptedUser, str]:
        """Have the user with most codes at hand upload a run to new recipients."""
        user = max(self.users, key=lambda u: u.authenticator.codes_at_hand)
        asset = self.assets[asset_code]
        self._runs += 1
        name = f"{self.name} run {self._runs}"
        least_minor = least_minor or LEAST_MINOR[asset_code]
        paid = payments(asset, lines, name=name, least_minor=least_minor)
        content = csv_of(asset, paid)
        run_id = await asyncio.to_thread(user.upload_run, content, name=name)
        self.runs.append(run_id)
        for number, each in enumerate(paid, FIRST_LINE):
            payout_id = derived_id(PAYOUT, run_id, str(number))
            wanted = frozenset({must_be})
            line = Asked(payout_id, asset_code, each.amount_minor, each.destination, wanted)
            self.lines.append(line)
        return user, run_id

    async def pay_run(self, asset_code: str, lines: int) -> str:
        """Upload a run, start it and have it approved as often as it needs; return its id."""
        user, run_id = await self.upload(asset_code, lines)
        await self.start(user, run_id)
        return run_id

    async def start(self, user: ScriptedUser, run_id: str) -> None:
        """Start a run and have it approved as often as it needs."""
        standing = await asyncio.to_thread(user.start_run, run_id, idempotency_key=run_id)
        approvers = sorted(self.approvers, key=lambda a: -a.authenticator.codes_at_hand)
        for approver in approvers:
            if standing == RunStatus.AWAITING_APPROVAL:
                standing = await asyncio.to_thread(approver.approve_run, run_id)

    async def unfinished(self) -> list[str]:
        """Return the runs that have lines on their way, as their own rows say."""
        database = Database(self.stack.site.database_url())
        try:
            async with database.transaction() as session:
                found = await session.exec(
                    select(PayoutRun.id).where(
                        col(PayoutRun.id).in_(self.runs), PayoutRun.status != RunStatus.FINISHED
                    )
                )
                return list(found)
        finally:
            await database.close()

    async def statuses(self) -> dict[str, PayoutStatus]:
        """Return where each payout stands, from the database."""
        database = Database(self.stack.site.database_url())
        try:
            async with database.transaction() as session:
                found = await session.exec(select(Payout.id, Payout.status))
                return {payout_id: PayoutStatus(status) for payout_id, status in found}
        finally:
            await database.close()

    async def settle(
        self, *others: Callable[[], Awaitable[bool]], patience_s: float = 120.0
    ) -> None:
        """
        Wait until every payout is final, every deposit credited and swept, and others are done.

        Gives up when time is over; the findings then say so.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while loop.time() < deadline:
            # The database may be killed while we look.
            with suppress(DatabaseUnavailableError):
                if await self._has_ended() and all([await is_done() for is_done in others]):
                    return
            await asyncio.sleep(POLL_S)

    async def _has_ended(self) -> bool:
        known = await self.statuses()
        is_paid = all(
            known.get(a.payout_id, PayoutStatus.READY).is_final for a in (*self.asked, *self.lines)
        )
        return is_paid and not await self.unfinished() and await self.depositors.are_done()

    async def findings(self) -> Findings:
        """Compare chain, books and what was asked for, payout by payout."""
        found = Findings()
        found.add(lost=[f"{each} is still on its way" for each in await self.await_stillness()])
        known = await self.statuses()
        database = Database(self.stack.site.database_url())
        async with database.snapshot() as session:
            assets = {a.code: a for a in await session.exec(select(Asset))}
            paid = await session.exec(
                select(Payout.id)
                .join(
                    ChainTransaction,
                    col(ChainTransaction.id) == col(Payout.chain_transaction_id),
                )
                .where(ChainTransaction.status == ChainTransactionStatus.CONFIRMED)
            )
            mined = set(paid)
            miscounts = await miscounted(session)
        await database.close()
        everything = [*self.asked, *self.lines]
        for code in sorted({asked.asset for asked in everything}):
            of_asset = [asked for asked in everything if asked.asset == code]
            addresses = [asked.recipient for asked in of_asset]
            arrived = await arrived_minor(self.stack.site, assets[code], addresses)
            for asked in of_asset:
                _judge(
                    asked,
                    known.get(asked.payout_id),
                    arrived_minor=arrived[asked.recipient],
                    is_mined=asked.payout_id in mined,
                    found=found,
                )
        found.unbalanced += len(miscounts)
        found.notes += miscounts
        for run_id in await self.unfinished():
            found.lost += 1
            found.notes.append(f"{run_id} has not finished")
        doubled, lost = await self.depositors.doubled(), await self.depositors.lost()
        found.duplicates += len(doubled)
        found.lost += len(lost)
        found.notes += [*doubled, *lost]
        books = await reconcile(self.stack.site)
        for check in books.assets:
            if not check.is_right:
                found.unbalanced += 1
                found.notes.append(str(check))
        if books.verification.broken:
            found.unbalanced += 1
            found.notes.append(books.verification.broken)
        return found

    async def await_stillness(self) -> Sequence[str]:
        """
        Wait until no chain transaction of ours is on its way; return those that still are.

        Fillers outlive their payouts.
        """
        database = Database(self.stack.site.database_url())
        deadline = asyncio.get_running_loop().time() + STILLNESS_S
        left: Sequence[str] = ()
        while asyncio.get_running_loop().time() < deadline:
            async with database.transaction() as session:
                found = await session.exec(
                    select(ChainTransaction.id).where(
                        col(ChainTransaction.status).not_in(ENDED)
                        | (
                            col(ChainTransaction.settled_at).is_(None)
                            & (ChainTransaction.status != ChainTransactionStatus.ABANDONED)
                        )
                    )
                )
                left = found.all()
            if not left:
                break
            await asyncio.sleep(POLL_S)
        await database.close()
        return left


def _judge(
    asked: Asked,
    status: PayoutStatus | None,
    *,
    arrived_minor: int,
    is_mined: bool,
    found: Findings,
) -> None:
    expected_minor = asked.amount_minor if status == PayoutStatus.SETTLED else 0
    note = f"{asked}: {status}, {arrived_minor} arrived, mined: {is_mined}"
    if arrived_minor > expected_minor:
        found.duplicates += 1
        found.notes.append(note)
    elif status not in asked.must_be or arrived_minor < expected_minor:
        found.lost += 1
        found.notes.append(note)


def recipient_of(asset: str, name: str) -> str:
    """Return an address that nobody used before, on the asset's chain."""
    digest = keccak(text=name)
    if asset == BTC:
        return address_of(b"\x00\x14" + digest[:20], BITCOIN_REGTEST)
    return str(to_checksum_address(digest[:20]))
