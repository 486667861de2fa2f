"""The money core on a real PostgreSQL, each part as its own database role, on a scripted chain."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from domain.ids import derived_id, new_id
from domain.payouts import (
    Acceptance,
    Decision,
    DecisionKind,
    DecisionOutcome,
    PayoutRequest,
)
from domain.policy import parse_policy
from infra.database import Database
from ledger import chart, rules
from ledger.queries import account_balance, asset_sums, customer_balances
from ledger.service import Ledger
from ledger.verify import verify
from models.chain_transactions import ChainAttempt, ChainBatch, ChainTransaction
from models.identity import Role, User
from models.payouts import Payout
from models.wallets import BlockchainWallet, WalletType
from outgoing.account_planner import AccountPlanner
from outgoing.log import PostgresOutgoingLog
from outgoing.runner import PostgresChainRunner
from payouts.catalog import Catalog, apply_catalog
from payouts.desk import PostgresPayoutDesk
from payouts.policy import store_policy
from signing.signer import PostgresBatchSigner
from tests.support.clocks import MovableClock
from tests.support.scripted_chain import ScriptedChain, ScriptedSigner
from watcher.fates import AccountFates
from watcher.watch import PostgresChainWatch

CHAIN = "eip155:31337"
HOT = "0x8626f6940E2eb28930eFb4CeF49B2d1F2C9C1199"
DESTINATION = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER_DESTINATION = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
FEE_MINOR = 10
"""Service fee of a payout in either asset."""

AUTOMATIC = {"rules": [{"asset": "*", "up_to_minor": None, "approvals": 0}]}
USERS = ("u1", "u2")
APPROVERS = ("a1", "a2", "a3")

CATALOG = {
    "chains": [
        {
            "id": CHAIN,
            "family": "evm",
            "name": "Scripted",
            "native_asset": "ETH",
            "confirmations_min": 3,
            "max_fee_ceiling_minor": 1_000,
            "bump_after_s": 60,
            "batch_size": 50,
            "batch_wait_ms": 0,
        }
    ],
    "assets": [
        {
            "code": "ETH",
            "chain_id": CHAIN,
            "kind": "native",
            "decimals": 18,
            "name": "Ether",
            "payout_fee_minor": FEE_MINOR,
        },
        {
            "code": "USD",
            "chain_id": CHAIN,
            "kind": "erc20",
            "contract_address": TOKEN,
            "decimals": 6,
            "name": "Dollar",
            "payout_fee_minor": FEE_MINOR,
        },
    ],
}


@dataclass
class Books:
    """What a test needs to take payouts from request to settlement, step by step."""

    owner: Database
    worker: Database
    signer_database: Database
    clock: MovableClock = field(default_factory=MovableClock)
    chain: ScriptedChain = field(default_factory=ScriptedChain)
    keys: ScriptedSigner = field(default_factory=ScriptedSigner)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.worker)
        self.desk = PostgresPayoutDesk(self.worker, self.clock)
        self.log = PostgresOutgoingLog(self.worker, self.clock)
        self.runner = PostgresChainRunner(
            self.worker,
            self.chain,
            AccountPlanner(self.worker, self.chain, self.clock),
            self.clock,
        )
        self.watch = PostgresChainWatch(
            self.worker, self.chain, AccountFates(self.chain), self.clock
        )
        self.signer = PostgresBatchSigner(self.signer_database, self.keys, self.clock)

    async def set_policy(self, document: dict[str, Any]) -> None:
        async with self.owner.transaction() as session:
            await store_policy(session, parse_policy(document), by="owner")

    async def deposit(self, user_id: str, asset: str, amount_minor: int) -> None:
        await self.ledger.post(
            rules.deposit(
                txid=new_id("in"),
                user_id=user_id,
                chain_id=CHAIN,
                asset=asset,
                amount_minor=amount_minor,
                at=self.clock.now(),
            )
        )

    def request(
        self,
        *,
        amount_minor: int = 100,
        user_id: str = "u1",
        asset: str = "ETH",
        destination: str = DESTINATION,
        key: str | None = None,
    ) -> PayoutRequest:
        key = key or new_id("key")
        return PayoutRequest(
            payout_id=derived_id("pay", user_id, key),
            user_id=user_id,
            principal=user_id,
            idempotency_key=key,
            request_hash="hash",
            asset=asset,
            amount=str(amount_minor),
            destination=destination,
        )

    async def freeze(self, **asked: Any) -> Acceptance:
        return await self.desk.freeze(self.request(**asked))

    async def decide(
        self, payout_id: str, approver_id: str, kind: DecisionKind = DecisionKind.APPROVE
    ) -> DecisionOutcome:
        decision_id = derived_id("dec", payout_id, approver_id, kind)
        return await self.desk.decide(Decision(decision_id, payout_id, approver_id, kind, "totp"))

    async def claim(self, key: str | None = None) -> str:
        batch_id = await self.log.claim(
            chain_id=CHAIN, wallet_address=HOT, claim_key=key or new_id("claim")
        )
        assert batch_id is not None
        return batch_id

    async def allocated(self, *amounts_minor: int, **asked: Any) -> str:
        """Freeze payouts of these amounts and bring their batch to where it awaits signing."""
        for amount_minor in amounts_minor:
            await self.freeze(amount_minor=amount_minor, **asked)
        batch_id = await self.claim()
        await self.runner.prepare(batch_id)
        await self.log.allocate(batch_id)
        return batch_id

    async def broadcast(self, *amounts_minor: int, **asked: Any) -> str:
        """Bring payouts of these amounts onto the wire."""
        batch_id = await self.allocated(*amounts_minor, **asked)
        await self.signer.sign(batch_id)
        await self.runner.broadcast(batch_id)
        return batch_id

    async def settled(self, *amounts_minor: int, **asked: Any) -> str:
        """Bring payouts of these amounts to their good end."""
        batch_id = await self.broadcast(*amounts_minor, **asked)
        self.chain.mine(3)
        await self.watch.watch_once()
        await self.log.settle(batch_id)
        return batch_id

    async def payout(self, payout_id: str) -> Payout:
        async with self.owner.transaction() as session:
            return await session.get_one(Payout, payout_id)

    async def payouts(self) -> list[Payout]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(Payout).order_by(col(Payout.created_at))))

    async def batch(self, batch_id: str) -> ChainBatch:
        async with self.owner.transaction() as session:
            return await session.get_one(ChainBatch, batch_id)

    async def transactions(self, batch_id: str) -> list[ChainTransaction]:
        """Return a batch's chain transactions by account nonce, those without one last."""
        async with self.owner.transaction() as session:
            found = await session.exec(
                select(ChainTransaction)
                .where(ChainTransaction.batch_id == batch_id)
                .order_by(col(ChainTransaction.account_nonce), col(ChainTransaction.id))
            )
            return list(found)

    async def attempts(self, transaction_id: str) -> list[ChainAttempt]:
        async with self.owner.transaction() as session:
            found = await session.exec(
                select(ChainAttempt)
                .where(ChainAttempt.chain_transaction_id == transaction_id)
                .order_by(col(ChainAttempt.sequence))
            )
            return list(found)

    async def money(self, user_id: str = "u1", asset: str = "ETH") -> tuple[int, int]:
        """Return available and held."""
        async with self.owner.transaction() as session:
            for balance in await customer_balances(session, user_id):
                if balance.asset == asset:
                    return balance.available_minor, balance.held_minor
        return 0, 0

    async def balance(self, code: str, asset: str = "ETH") -> int:
        async with self.owner.transaction() as session:
            return await account_balance(session, code, asset)

    async def omnibus(self, asset: str = "ETH") -> int:
        """Return what the books say that our hot wallet owns."""
        return -await self.balance(chart.omnibus_hot(CHAIN), asset)

    async def in_flight(self, asset: str = "ETH") -> int:
        return await self.balance(chart.inflight(CHAIN), asset)

    async def broken(self) -> str | None:
        """Return what ``verify`` objects to."""
        verdict = None
        async with self.owner.snapshot() as session:
            async for step in verify(session):
                verdict = step.broken
        return verdict

    async def execute(self, *statements: str) -> None:
        """Run SQL as the superuser."""
        async with self.owner.transaction() as session:
            connection = await session.connection()
            for statement in statements:
                await connection.exec_driver_sql(statement)

    async def tamper(self, *statements: str) -> None:
        """Run SQL as a superuser who has switched every trigger off."""
        await self.execute("SET LOCAL session_replication_role = replica", *statements)

    async def assert_sound(self) -> None:
        """Check what must hold after anything: zero sums, no floor broken, an unbroken chain."""
        async with self.owner.transaction() as session:
            assert set((await asset_sums(session)).values()) <= {0}
            connection = await session.connection()
            stray = await connection.exec_driver_sql("""
                SELECT a.code, a.balance_minor
                FROM ledger_account a
                LEFT JOIN hold h ON a.code = 'user:' || h.owner || ':held'
                    AND h.asset = a.asset AND h.status = 'placed'
                WHERE a.code ~ '^user:.*:held$'
                GROUP BY a.id
                HAVING a.balance_minor <> coalesce(
                    sum(h.amount_minor - h.captured_minor - h.released_minor), 0)
                """)
            assert stray.all() == [], "held money without an open hold"
        assert await self.broken() is None

    def wait(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))


def as_role(url: str, role: str) -> str:
    return url.replace("postgres@", f"strongroom_{role}@", 1)


@asynccontextmanager
async def opened_books(url: str, *, pool_size: int = 10) -> AsyncIterator[Books]:
    """Yield books with a catalog, people, a hot wallet and a policy that asks nobody."""
    books = Books(
        Database(url, pool_size=pool_size),
        Database(as_role(url, "worker"), pool_size=pool_size),
        Database(as_role(url, "signer"), pool_size=pool_size),
    )
    async with books.owner.transaction() as session:
        await apply_catalog(session, Catalog.model_validate(CATALOG))
        session.add_all(people(books.clock))
        session.add(
            BlockchainWallet(
                uuid="w1",
                chain_id=CHAIN,
                address=HOT,
                pub_key="04",
                type=WalletType.HOT,
                primary=True,
            )
        )
    await books.set_policy(AUTOMATIC)
    try:
        yield books
    finally:
        for database in (books.owner, books.worker, books.signer_database):
            await database.close()


def people(clock: MovableClock) -> Sequence[User]:
    roles = {name: [Role.APPROVER.value] for name in APPROVERS}
    return [
        User(
            id=name,
            email=f"{name}@example.org",
            password_hash="-",
            roles=roles.get(name, []),
            created_at=clock.now(),
        )
        for name in (*USERS, *APPROVERS)
    ]


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with opened_books(database_url) as opened:
        yield opened
