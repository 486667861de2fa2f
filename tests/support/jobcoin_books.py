"""The money core of a Jobcoin network: real PostgreSQL, a real node, real keys, a role per part."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlmodel import col, select

from deposits.addresses import AddressRequest, issue
from deposits.desk import PostgresDepositDesk
from domain.hd import EXTERNAL
from domain.ids import derived_id, new_id
from domain.payouts import Acceptance, PayoutRequest, PayoutStatus
from domain.pockets import PocketStanding, Route
from domain.policy import parse_policy
from domain.ports import WatchRound
from infra.database import Database
from infra.keyring import Keyring
from ledger import chart, rules
from ledger.queries import account_balance, asset_sums, customer_balances
from ledger.service import Ledger
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.deposits import AddressPurpose, ChainAddress, ChainDeposit, UserFreeze
from models.payouts import Payout
from models.wallets import Asset
from outgoing.account_planner import AccountPlanner
from outgoing.log import PostgresOutgoingLog
from outgoing.runner import PostgresChainRunner
from payouts.catalog import Catalog, apply_catalog
from payouts.desk import PostgresPayoutDesk
from payouts.policy import store_policy
from pockets.desk import PostgresPocketDesk
from pockets.spending import AccountPocketSpender
from signing.signer import PostgresBatchSigner
from signing.vault import KeyVault
from sweeps.accounts import AccountSweeper
from tests.support.books import AUTOMATIC, as_role, people
from tests.support.clocks import MovableClock
from tests.support.coin_books import KEYS
from tests.support.jobcoin import CHAIN_ID, JobcoinWorld, Purse
from tests.support.pockets import transfer_request
from watcher.fates import CoinFates
from watcher.watch import PostgresChainWatch

JOB = 10**8
CONFIRMATIONS = 2
HOT_MINOR = 50 * JOB
FEE_MINOR = 10

CATALOG = Catalog.model_validate(
    {
        "chains": [
            {
                "id": CHAIN_ID,
                "family": "jobcoin",
                "name": "Jobcoin",
                "native_asset": "JOB",
                "confirmations_min": CONFIRMATIONS,
                "max_fee_ceiling_minor": 1,
                "bump_after_s": 60,
                "batch_wait_ms": 0,
                "outputs_max": 50,
            }
        ],
        "assets": [
            {
                "code": "JOB",
                "chain_id": CHAIN_ID,
                "kind": "native",
                "decimals": 8,
                "name": "Jobcoin",
                "payout_fee_minor": FEE_MINOR,
                "deposit_min_minor": 1_000,
                "sweep_min_minor": 10_000,
            }
        ],
    }
)


@dataclass
class JobcoinBooks:
    """What a test needs to take deposits, sweeps and payouts through a node, step by step."""

    owner: Database
    api: Database
    worker: Database
    signer_database: Database
    world: JobcoinWorld
    hot: str = ""
    clock: MovableClock = field(default_factory=MovableClock)

    def __post_init__(self) -> None:
        self.outlet = self.world.outlet
        self.vault = KeyVault(self.signer_database, Keyring.parse(KEYS), self.clock)
        self.ledger = Ledger(self.worker)
        self.desk = PostgresPayoutDesk(self.worker, self.clock)
        self.deposits = PostgresDepositDesk(self.worker, self.clock)
        self.log = PostgresOutgoingLog(self.worker, self.clock)
        self.planner = AccountPlanner(self.worker, self.outlet, self.clock)
        self.runner = PostgresChainRunner(self.worker, self.outlet, self.planner, self.clock)
        self.watch = PostgresChainWatch(self.worker, self.outlet, CoinFates(), self.clock)
        self.sweeper = AccountSweeper(self.worker, self.outlet, self.clock)
        self.signer = PostgresBatchSigner(self.signer_database, self.vault, self.clock)
        self.pocket_desk = PostgresPocketDesk(self.worker, self.clock)
        self.spender = AccountPocketSpender(self.worker, self.outlet, self.clock)

    async def open(self) -> None:
        async with self.owner.transaction() as session:
            await apply_catalog(session, CATALOG)
            session.add_all(people(self.clock))
        async with self.owner.transaction() as session:
            await store_policy(session, parse_policy(AUTOMATIC), by="owner")
        self.hot = await self.vault.ensure_primary_wallet(CHAIN_ID)
        self.stranger = await self.world.purse(1_000 * JOB)
        await self.world.mint(self.hot, HOT_MINOR)
        # No reorg of a test's own blocks may reach below this.
        await self.world.mine(4)
        await self.ledger.post(
            rules.capital_in(
                txid=new_id("in"),
                chain_id=CHAIN_ID,
                asset="JOB",
                amount_minor=HOT_MINOR,
                at=self.clock.now(),
            )
        )
        await self.look()

    async def close(self) -> None:
        for database in (self.owner, self.api, self.worker, self.signer_database):
            await database.close()

    async def address(self, user_id: str = "u1") -> str:
        request = AddressRequest(user_id, "JOB", None, user_id, new_id("key"))
        async with self.api.transaction() as session:
            return (await issue(session, request, clock=self.clock)).row.address

    async def pay(self, outputs: dict[str, int]) -> str:
        """Have a stranger pay these addresses with one transaction; it waits in the pool."""
        told = (await self.world.client.get(f"/v1/addresses/{self.stranger.address}")).json()
        signed = self.stranger.pay(outputs, account_nonce=told["next_free_nonce"])
        await self.outlet.broadcast(signed.raw)
        return signed.txid

    async def look(self) -> WatchRound:
        """Watch until the tip is read, then let deposits and batches do what is due."""
        found = await self.watch.watch_once()
        for deposit_id in found.deposits:
            await self.deposits.advance(deposit_id)
        await self.watch.mark_notified(found.deposits)
        for batch_id in found.batches:
            await self.log.settle(batch_id)
        return found

    async def mine(self, blocks: int = 1) -> WatchRound:
        await self.world.mine(blocks)
        return await self.look()

    async def freeze(
        self, destination: str, amount_minor: int, *, user_id: str = "u1"
    ) -> Acceptance:
        key = new_id("key")
        return await self.desk.freeze(
            PayoutRequest(
                payout_id=derived_id("pay", user_id, key),
                user_id=user_id,
                principal=user_id,
                idempotency_key=key,
                request_hash="hash",
                asset="JOB",
                amount=str(amount_minor),
                destination=destination,
            )
        )

    async def claim(self) -> str:
        batch_id = await self.log.claim(
            chain_id=CHAIN_ID, wallet_address=self.hot, claim_key=new_id("claim")
        )
        assert batch_id is not None
        return batch_id

    async def drive(self, batch_id: str) -> None:
        """Bring a batch onto the wire."""
        await self.runner.prepare(batch_id)
        assert await self.log.allocate(batch_id)
        outcome = await self.signer.sign(batch_id)
        assert not outcome.refused
        await self.runner.broadcast(batch_id)

    async def pay_out(self) -> str:
        """Bring every ready payout onto the wire."""
        batch_id = await self.claim()
        await self.drive(batch_id)
        return batch_id

    async def sweep(self) -> list[str]:
        """Plan sweeps and bring them onto the wire."""
        self.clock.advance(timedelta(seconds=1))
        batches = (await self.sweeper.plan(is_forced=False)).batches
        for batch_id in batches:
            await self.drive(batch_id)
        return batches

    async def ask(self, route: Route, amount: int | str, destination: str | None = None) -> str:
        """Ask for a transfer to or from a pocket."""
        accepted = await self.pocket_desk.freeze(
            transfer_request(route, amount, asset="JOB", chain_id=CHAIN_ID, destination=destination)
        )
        assert accepted.status == PayoutStatus.READY, accepted
        return accepted.payout_id

    async def spend(self, transfer_id: str) -> PocketStanding:
        """Have a transfer planned by its pocket, and what it needs brought onto the wire."""
        self.clock.advance(timedelta(seconds=1))
        standing = await self.spender.advance(transfer_id)
        for batch_id in standing.batches:
            await self.drive(batch_id)
        return standing

    async def credited(self, amount_minor: int, *, user_id: str = "u1") -> str:
        """Have a deposit of a user credited; return its address."""
        address = await self.address(user_id)
        await self.pay({address: amount_minor})
        await self.mine(CONFIRMATIONS)
        assert await self.available(user_id) >= amount_minor
        return address

    async def available(self, user_id: str = "u1") -> int:
        async with self.owner.transaction() as session:
            balances = await customer_balances(session, user_id)
        return sum(balance.available_minor for balance in balances)

    async def balance(self, code: str) -> int:
        async with self.owner.transaction() as session:
            return await account_balance(session, code, "JOB")

    async def all_deposits(self) -> list[ChainDeposit]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(ChainDeposit).order_by(col(ChainDeposit.id))))

    async def transactions(self) -> list[ChainTransaction]:
        async with self.owner.transaction() as session:
            order = (col(ChainTransaction.account_nonce), col(ChainTransaction.id))
            return list(await session.exec(select(ChainTransaction).order_by(*order)))

    async def attempts(self) -> list[ChainAttempt]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(ChainAttempt).order_by(col(ChainAttempt.id))))

    async def payouts(self) -> list[Payout]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(Payout).order_by(col(Payout.id))))

    async def assert_books_equal_chain(self) -> None:
        """Compare the omnibus accounts with what the node says of every address of ours."""
        async with self.owner.transaction() as session:
            assert set((await asset_sums(session)).values()) <= {0}
        async with self.owner.transaction() as session:
            found = await session.exec(
                select(ChainAddress.purpose, ChainAddress.address).where(
                    ChainAddress.branch == EXTERNAL
                )
            )
            ours = list(found)
        for code, purpose in (
            (chart.omnibus_deposit(CHAIN_ID), AddressPurpose.DEPOSIT),
            (chart.omnibus_pocket(CHAIN_ID), AddressPurpose.POCKET),
        ):
            held = [await self.world.balance(address) for kind, address in ours if kind == purpose]
            assert (code, -await self.balance(code)) == (code, sum(held))
        hot_minor = -await self.balance(chart.omnibus_hot(CHAIN_ID))
        assert hot_minor == await self.world.balance(self.hot)

    async def freeze_user(self, user_id: str) -> None:
        async with self.owner.transaction() as session:
            session.add(UserFreeze(id=new_id("frz"), user_id=user_id, created_at=self.clock.now()))

    async def switch(self, asset: str, *, is_enabled: bool) -> None:
        async with self.owner.transaction() as session:
            (await session.get_one(Asset, asset)).enabled = is_enabled

    def wait(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def destination(self) -> str:
        return Purse().address


@pytest.fixture
async def jobcoin_books(database_url: str) -> AsyncIterator[JobcoinBooks]:
    world = JobcoinWorld(database_url)
    await world.open()
    api, worker, signer = (
        Database(as_role(database_url, role)) for role in ("api", "worker", "signer")
    )
    books = JobcoinBooks(Database(database_url), api, worker, signer, world)
    await books.open()
    yield books
    await books.close()
    await world.close()
