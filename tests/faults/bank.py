"""A stack with users and money, whose payouts each go to a recipient of their own."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from sqlmodel import col, select

from devnet.bootstrap import BTC, BTC_UNIT, ETHER, ETHER_UNIT, TOKEN, TOKEN_UNIT
from devnet.funding import fund
from devnet.people import ScriptedUser, enlist
from devnet.reconcile import on_chain_minor, reconcile
from devnet.stack import Stack
from domain.payouts import PayoutStatus
from domain.utxo.networks import BITCOIN_REGTEST
from domain.utxo.scripts import address_of
from infra.database import Database
from models.chain_transactions import ChainTransaction, ChainTransactionStatus
from models.identity import Role
from models.payouts import Payout
from models.wallets import Asset
from tests.faults.depositors import Depositors, Sent

ENLISTED_AT_ONCE = 4
POLL_S = 0.3
BITCOIN_COINS = 8


@dataclass(frozen=True)
class Asked:
    """A payout that was asked for, and what must come of it."""

    payout_id: str
    asset: str
    amount_minor: int
    recipient: str
    must_be: frozenset[PayoutStatus] = frozenset({PayoutStatus.SETTLED})


@dataclass
class Findings:
    """What is wrong; each number must be zero."""

    duplicates: int = 0
    lost: int = 0
    unbalanced: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing is wrong."""
        return not (self.duplicates or self.lost or self.unbalanced)


class Bank:
    """The stack, its people, and what they asked for."""

    def __init__(self, stack: Stack, *, name: str) -> None:
        self.stack = stack
        self.name = name
        self.users: list[ScriptedUser] = []
        self.approvers: list[ScriptedUser] = []
        self.operator: ScriptedUser
        self.asked: list[Asked] = []
        self.depositors = Depositors(stack.site)
        self._recipients = 0
        self._deposits = 0

    async def open(self, *, users: int, approvers: int = 3) -> None:
        """Enlist people and give every user two Ether and ten thousand tokens."""
        gate = asyncio.Semaphore(ENLISTED_AT_ONCE)

        async def one(name: str, roles: Sequence[Role] = ()) -> ScriptedUser:
            async with gate:
                return await enlist(self.stack.site, name, roles)

        self.users = await asyncio.gather(*(one(f"user{n}") for n in range(users)))
        self.approvers = await asyncio.gather(
            *(one(f"approver{n}", [Role.APPROVER]) for n in range(approvers))
        )
        self.operator = await one("operator", [Role.OPERATOR])
        ether: dict[str | None, int] = {u.user_id: 2 * ETHER_UNIT for u in self.users}
        ether[None] = 2 * ETHER_UNIT
        await fund(self.stack.site, asset_code=ETHER, shares=ether)
        tokens: dict[str | None, int] = {u.user_id: 10_000 * TOKEN_UNIT for u in self.users}
        await fund(self.stack.site, asset_code=TOKEN, shares=tokens)
        bitcoin: dict[str | None, int] = {u.user_id: BTC_UNIT // 10 for u in self.users}
        bitcoin[None] = BTC_UNIT // 10
        # Several coins, so that several batches can be on their way at once.
        part = {who: minor // BITCOIN_COINS for who, minor in bitcoin.items()}
        for _ in range(BITCOIN_COINS):
            await fund(self.stack.site, asset_code=BTC, shares=part)

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
        recipient = _recipient(asset, f"{self.name} {self._recipients}")
        key = f"{self.name}-{self._recipients}"
        user = max(self.users, key=lambda u: u.authenticator.codes_at_hand)
        body = {"asset": asset, "amount": str(amount_minor), "destination": recipient}
        payout_id = await asyncio.to_thread(user.ask_payout, body, idempotency_key=key)
        wanted = must_be if isinstance(must_be, frozenset) else frozenset({must_be})
        asked = Asked(payout_id, asset, amount_minor, recipient, wanted)
        self.asked.append(asked)
        return asked

    async def statuses(self) -> dict[str, PayoutStatus]:
        """Return where each payout stands, from the database."""
        database = Database(self.stack.site.database_url())
        try:
            async with database.transaction() as session:
                found = await session.exec(select(Payout.id, Payout.status))
                return {payout_id: PayoutStatus(status) for payout_id, status in found}
        finally:
            await database.close()

    async def settle(self, *, patience_s: float = 120.0) -> None:
        """
        Wait until every payout is final and every deposit credited and swept.

        Gives up when time is over; the findings then say so.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while loop.time() < deadline:
            known = await self.statuses()
            is_paid = all(known.get(a.payout_id, PayoutStatus.READY).is_final for a in self.asked)
            if is_paid and await self.depositors.are_done():
                return
            await asyncio.sleep(POLL_S)

    async def findings(self) -> Findings:
        """Compare chain, books and what was asked for, payout by payout."""
        found = Findings()
        await self._await_stillness()
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
        await database.close()
        for asked in self.asked:
            asset = assets[asked.asset]
            arrived = await on_chain_minor(self.stack.site, asset, [asked.recipient])
            _judge(
                asked,
                known.get(asked.payout_id),
                arrived_minor=arrived,
                is_mined=asked.payout_id in mined,
                found=found,
            )
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

    async def _await_stillness(self) -> None:
        """Wait until no chain transaction of ours is on its way: fillers outlive their payouts."""
        database = Database(self.stack.site.database_url())
        deadline = asyncio.get_running_loop().time() + 60
        ended = (
            ChainTransactionStatus.CONFIRMED,
            ChainTransactionStatus.REVERTED,
            ChainTransactionStatus.ABANDONED,
        )
        while asyncio.get_running_loop().time() < deadline:
            async with database.transaction() as session:
                found = await session.exec(
                    select(ChainTransaction.id).where(
                        col(ChainTransaction.status).not_in(ended)
                        | (
                            col(ChainTransaction.settled_at).is_(None)
                            & (ChainTransaction.status != ChainTransactionStatus.ABANDONED)
                        )
                    )
                )
                if not found.all():
                    break
            await asyncio.sleep(POLL_S)
        await database.close()


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


def _recipient(asset: str, name: str) -> str:
    """Return an address that nobody used before, on the asset's chain."""
    digest = keccak(text=name)
    if asset == BTC:
        return address_of(b"\x00\x14" + digest[:20], BITCOIN_REGTEST)
    return str(to_checksum_address(digest[:20]))
