"""The money core of a UTXO chain: real PostgreSQL, a real node, real keys, one role per part."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from chains.utxo.outlet import CoinOutlet
from deposits.addresses import AddressRequest, issue
from deposits.desk import PostgresDepositDesk
from domain.deposits import DepositStanding
from domain.ids import derived_id, new_id
from domain.payouts import Acceptance, PayoutRequest
from domain.policy import parse_policy
from domain.ports import WatchRound
from infra.database import Database
from infra.keyring import Keyring
from ledger import chart, rules
from ledger.queries import account_balance, asset_sums, customer_balances
from ledger.service import Ledger
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.deposits import AddressPurpose, ChainAddress, ChainDeposit, UserFreeze, Utxo
from models.payouts import Payout
from outgoing.coin_planner import CoinPlanner
from outgoing.log import PostgresOutgoingLog
from outgoing.runner import PostgresChainRunner
from payouts.catalog import Catalog, apply_catalog
from payouts.desk import PostgresPayoutDesk
from payouts.policy import store_policy
from signing.signer import PostgresBatchSigner
from signing.vault import KeyVault
from tests.support.books import AUTOMATIC, as_role, people
from tests.support.clocks import MovableClock
from tests.support.utxo_nodes import RegtestNode
from watcher.fates import CoinFates
from watcher.watch import PostgresChainWatch

COIN = "COIN"
FEE_MINOR = 500
CEILING = 500_000
UNIT = 10**8
KEYS = "one:" + "A" * 43 + "="


def catalog(chain_id: str, *, outputs_max: int = 50) -> Catalog:
    return Catalog.model_validate(
        {
            "chains": [
                {
                    "id": chain_id,
                    "family": "utxo",
                    "name": "Coins",
                    "native_asset": COIN,
                    "confirmations_min": 2,
                    "max_fee_ceiling_minor": CEILING,
                    "bump_after_s": 60,
                    "batch_wait_ms": 0,
                    "outputs_max": outputs_max,
                    "sweep_fee_max_bps": 2_000,
                }
            ],
            "assets": [
                {
                    "code": COIN,
                    "chain_id": chain_id,
                    "kind": "native",
                    "decimals": 8,
                    "name": "Coin",
                    "payout_fee_minor": FEE_MINOR,
                    "payout_min_minor": 10_000,
                    "deposit_min_minor": 10_000,
                    "sweep_min_minor": 20_000,
                }
            ],
        }
    )


@dataclass
class CoinBooks:
    """What a test needs to take deposits and payouts through a real node, step by step."""

    owner: Database
    api: Database
    worker: Database
    signer_database: Database
    node: RegtestNode
    hot: str = ""
    clock: MovableClock = field(default_factory=MovableClock)

    def __post_init__(self) -> None:
        self.chain_id = self.node.network.chain_id
        self.outlet = CoinOutlet(self.chain_id, [self.node.url])
        self.vault = KeyVault(self.signer_database, Keyring.parse(KEYS), self.clock)
        self.ledger = Ledger(self.worker)
        self.desk = PostgresPayoutDesk(self.worker, self.clock)
        self.deposits = PostgresDepositDesk(self.worker, self.clock)
        self.log = PostgresOutgoingLog(self.worker, self.clock)
        self.planner = CoinPlanner(self.worker, self.outlet, self.clock)
        self.runner = PostgresChainRunner(self.worker, self.outlet, self.planner, self.clock)
        self.watch = PostgresChainWatch(self.worker, self.outlet, CoinFates(), self.clock)
        self.signer = PostgresBatchSigner(self.signer_database, self.vault, self.clock)

    async def open(self) -> None:
        await self.fill_catalog()
        await self.open_wallet()

    async def fill_catalog(self) -> None:
        async with self.owner.transaction() as session:
            await apply_catalog(session, catalog(self.chain_id))
            session.add_all(people(self.clock))
        async with self.owner.transaction() as session:
            await store_policy(session, parse_policy(AUTOMATIC), by="owner")

    async def open_wallet(self) -> None:
        self.hot = await self.vault.ensure_primary_wallet(self.chain_id)
        await self.look()

    async def close(self) -> None:
        await self.outlet.close()
        for database in (self.owner, self.api, self.worker, self.signer_database):
            await database.close()

    async def address(self, user_id: str = "u1", *, key: str | None = None) -> str:
        request = AddressRequest(user_id, COIN, None, user_id, key or new_id("key"))
        async with self.api.transaction() as session:
            return (await issue(session, request, clock=self.clock)).row.address

    async def top_up(self, *amounts_minor: int) -> None:
        """Put the operator's own coins on the hot wallet, and on the books."""
        for amount_minor in amounts_minor:
            txid = await self.node.fund(self.hot, amount_minor)
            await self.ledger.post(
                rules.capital_in(
                    txid=txid,
                    chain_id=self.chain_id,
                    asset=COIN,
                    amount_minor=amount_minor,
                    at=self.clock.now(),
                )
            )
        await self.node.mine(1)
        await self.look()

    async def give(self, user_id: str, amount_minor: int) -> None:
        """Let a customer own some of the operator's coins."""
        await self.ledger.post(
            rules.transfer(
                key=new_id("gift"),
                source=chart.CAPITAL,
                target=chart.available(user_id),
                asset=COIN,
                amount_minor=amount_minor,
                at=self.clock.now(),
            )
        )

    async def give_back(self, user_id: str, amount_minor: int) -> None:
        """Take money off a customer's available balance, if the ledger lets it go."""
        await self.ledger.post(
            rules.transfer(
                key=new_id("back"),
                source=chart.available(user_id),
                target=chart.CAPITAL,
                asset=COIN,
                amount_minor=amount_minor,
                at=self.clock.now(),
            )
        )

    async def look(self) -> WatchRound:
        """Watch until the tip is read, then let every deposit that is due act."""
        found = await self.watch.watch_once()
        while found.is_behind:
            found = await self.watch.watch_once()
        for deposit_id in found.deposits:
            await self.deposits.advance(deposit_id)
        await self.watch.mark_notified(found.deposits)
        return found

    async def mine(self, blocks: int = 1) -> WatchRound:
        await self.node.mine(blocks)
        return await self.look()

    def request(self, destination: str, amount_minor: int, *, user_id: str = "u1") -> PayoutRequest:
        key = new_id("key")
        return PayoutRequest(
            payout_id=derived_id("pay", user_id, key),
            user_id=user_id,
            principal=user_id,
            idempotency_key=key,
            request_hash="hash",
            asset=COIN,
            amount=str(amount_minor),
            destination=destination,
        )

    async def freeze(self, destination: str, amount_minor: int, **asked: str) -> Acceptance:
        return await self.desk.freeze(self.request(destination, amount_minor, **asked))

    async def claim(self) -> str:
        batch_id = await self.log.claim(
            chain_id=self.chain_id, wallet_address=self.hot, claim_key=new_id("claim")
        )
        assert batch_id is not None
        return batch_id

    async def broadcast(self) -> str:
        """Bring everything that is ready onto the wire."""
        batch_id = await self.claim()
        await self.runner.prepare(batch_id)
        assert await self.log.allocate(batch_id)
        await self.signer.sign(batch_id)
        await self.runner.broadcast(batch_id)
        return batch_id

    async def standing(self, deposit_id: str) -> DepositStanding:
        return await self.deposits.advance(deposit_id)

    async def all_deposits(self) -> list[ChainDeposit]:
        async with self.owner.transaction() as session:
            found = await session.exec(
                select(ChainDeposit).order_by(col(ChainDeposit.seen_at), col(ChainDeposit.position))
            )
            return list(found)

    async def transactions(self) -> list[ChainTransaction]:
        async with self.owner.transaction() as session:
            return list(
                await session.exec(select(ChainTransaction).order_by(col(ChainTransaction.id)))
            )

    async def attempts(self) -> list[ChainAttempt]:
        async with self.owner.transaction() as session:
            return list(
                await session.exec(select(ChainAttempt).order_by(col(ChainAttempt.sequence)))
            )

    async def payouts(self) -> list[Payout]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(Payout).order_by(col(Payout.created_at))))

    async def coins(self) -> list[Utxo]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(Utxo)))

    async def freezes(self) -> list[UserFreeze]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(UserFreeze)))

    async def available(self, user_id: str = "u1") -> int:
        async with self.owner.transaction() as session:
            balances = await customer_balances(session, user_id)
        return sum(b.available_minor for b in balances)

    async def balance(self, code: str) -> int:
        async with self.owner.transaction() as session:
            return await account_balance(session, code, COIN)

    async def assert_books_equal_chain(self) -> None:
        """Compare the omnibus accounts with what the node says of every address of ours."""
        async with self.owner.transaction() as session:
            assert set((await asset_sums(session)).values()) <= {0}
            addresses = list(
                await session.exec(
                    select(ChainAddress).where(ChainAddress.chain_id == self.chain_id)
                )
            )
        booked = {
            0: -await self.balance(chart.omnibus_deposit(self.chain_id)),
            1: -await self.balance(chart.omnibus_hot(self.chain_id)),
            2: -await self.balance(chart.omnibus_pocket(self.chain_id)),
        }
        on_chain = {0: 0, 1: 0, 2: 0}
        for address in addresses:
            is_pocket = address.purpose == AddressPurpose.POCKET
            on_chain[2 if is_pocket else address.branch] += await self.node.balance(address.address)
        assert booked == on_chain

    async def execute(self, statement: str) -> None:
        """Run SQL as the superuser."""
        async with self.owner.transaction() as session:
            await session.execute(text(statement))

    def wait(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))


def new_coin_books(url: str, node: RegtestNode) -> CoinBooks:
    return CoinBooks(
        Database(url),
        Database(as_role(url, "api")),
        Database(as_role(url, "worker")),
        Database(as_role(url, "signer")),
        node,
    )


@asynccontextmanager
async def opened_coin_books(url: str, node: RegtestNode) -> AsyncIterator[CoinBooks]:
    books = new_coin_books(url, node)
    try:
        await books.open()
        yield books
    finally:
        await books.close()


@pytest.fixture
async def coin_books(database_url: str, utxo_node: RegtestNode) -> AsyncIterator[CoinBooks]:
    """Books on every kind of node in turn."""
    async with opened_coin_books(database_url, utxo_node) as books:
        yield books
