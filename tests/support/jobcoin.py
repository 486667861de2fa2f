"""A Jobcoin node for tests: in this process, on a database of its own, mining when it is told."""

from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web
from sqlalchemy import text

from chains.jobcoin.node.app import JobcoinApp
from chains.jobcoin.node.book import JobcoinBook
from chains.jobcoin.outlet import JobcoinOutlet
from domain.clock import SystemClock
from domain.ids import new_id
from domain.jobcoin.addresses import account_of
from domain.jobcoin.chain import Header
from domain.jobcoin.transactions import Output, Transaction
from domain.ports import SignedAttempt
from infra.database import Database
from signing.jobcoin import jobcoin_identity, public_key_of, sign_transaction
from tests.support.postgres import PostgresServer, fresh_database

CHAIN_ID = "jobcoin:test"
MINT_TOKEN = "only-the-owner-has-it"
LOOPBACK = "127.0.0.1"

# Only here is a chain ever rolled back: the triggers that keep it as it was are left out.
_ROLL_BACK = """
SET LOCAL session_replication_role = replica;
CREATE TEMP TABLE gone ON COMMIT DROP AS
    SELECT txid, kind, amount_minor FROM jobcoin_transaction WHERE block_height > :height;
UPDATE jobcoin_supply SET minted_minor = minted_minor
    - coalesce((SELECT sum(amount_minor) FROM gone WHERE kind <> 'transfer'), 0);
DELETE FROM jobcoin_output WHERE txid IN (SELECT txid FROM gone WHERE kind = 'reward');
DELETE FROM jobcoin_transaction WHERE txid IN (SELECT txid FROM gone WHERE kind = 'reward');
UPDATE jobcoin_transaction SET block_height = NULL, place = NULL
    WHERE txid IN (SELECT txid FROM gone);
DELETE FROM jobcoin_block WHERE height > :height;
UPDATE jobcoin_account a SET
    balance_minor = coalesce((
        SELECT sum(o.amount_minor) FROM jobcoin_output o JOIN jobcoin_transaction t USING (txid)
        WHERE o.address = a.address AND t.block_height IS NOT NULL), 0)
    - coalesce((SELECT sum(t.amount_minor) FROM jobcoin_transaction t
        WHERE t.sender = a.address AND t.block_height IS NOT NULL), 0),
    next_nonce = (SELECT count(*) FROM jobcoin_transaction t
        WHERE t.sender = a.address AND t.block_height IS NOT NULL)
"""


class Purse:
    """A key of a test's own."""

    def __init__(self, chain_id: str = CHAIN_ID) -> None:
        self.chain_id = chain_id
        self.private_key = new_id("key")[-26:].encode().rjust(32, b"\x01")
        self.address = jobcoin_identity(self.private_key, chain_id).address

    def pay(self, outputs: dict[str, int], *, account_nonce: int = 0) -> SignedAttempt:
        """Sign a transaction to these addresses."""
        paid = tuple(Output(account_of(a, self.chain_id), minor) for a, minor in outputs.items())
        unsigned = Transaction(self.chain_id, public_key_of(self.private_key), account_nonce, paid)
        return sign_transaction(unsigned, self.private_key)


class JobcoinWorld:
    """``tests.support.outlet_contract.OutletWorld`` on a Jobcoin node."""

    def __init__(self, superuser_url: str, *, chain_id: str = CHAIN_ID) -> None:
        role_url = superuser_url.replace("postgres@", "strongroom_jobcoin@")
        self.database = Database(role_url)
        self.chain_id = chain_id
        self.owner = Database(superuser_url)
        self.book = JobcoinBook(self.database, chain_id, SystemClock())
        self.url = ""

    async def open(self) -> None:
        await self.book.open()
        routes = JobcoinApp(self.book, self.database, mint_token=MINT_TOKEN)
        self._runner = web.AppRunner(routes.app())
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self.outlet = JobcoinOutlet(self.chain_id, [self.url], timeout_s=5)
        self.client = httpx.AsyncClient(base_url=self.url, trust_env=False)

    async def close(self) -> None:
        await self.outlet.close()
        await self.client.aclose()
        await self._runner.cleanup()
        await self.database.close()
        await self.owner.close()

    async def mine(self, count: int = 1) -> Header:
        headers = [await self.book.mine() for _ in range(count)]
        return headers[-1]

    async def roll_back(self, depth: int) -> None:
        """Take the last blocks away; what they held waits in the pool again."""
        height = (await self.outlet.head()).height - depth
        async with self.owner.transaction() as session:
            for statement in _ROLL_BACK.split(";"):
                await session.execute(text(statement), {"height": height})

    async def reorg(self, depth: int) -> None:
        await self.roll_back(depth)
        await self.mine(depth)

    async def purse(self, amount_minor: int = 0) -> Purse:
        """Return a fresh key, with coins that a block has minted for it."""
        purse = Purse(self.chain_id)
        if amount_minor:
            await self.mint(purse.address, amount_minor)
        return purse

    async def mint(self, address: str, amount_minor: int) -> str:
        minted = await self.book.mint(address, amount_minor, reference=new_id("ref"))
        await self.mine()
        return minted.txid

    async def balance(self, address: str) -> int:
        return await self.outlet.balance_minor(address)


@pytest.fixture
async def jobcoin(postgres_server: PostgresServer) -> AsyncIterator[JobcoinWorld]:
    with fresh_database(postgres_server) as url:
        world = JobcoinWorld(url)
        await world.open()
        yield world
        await world.close()
