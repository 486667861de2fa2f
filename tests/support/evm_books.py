"""The money core of an EVM chain: real PostgreSQL, a real node, real keys, one role per part."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from sqlmodel import col, select

from chains.evm.outlet import EvmOutlet
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
from models.chain_transactions import ChainTransaction
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
from pockets.wallets import find_pocket
from signing.signer import PostgresBatchSigner
from signing.vault import KeyVault
from sweeps.accounts import AccountSweeper
from tests.support.books import AUTOMATIC, as_role, people
from tests.support.chain_world import TokenKind
from tests.support.clocks import MovableClock
from tests.support.coin_books import KEYS
from tests.support.evm import CHAIN_ID, DEV_ACCOUNT, EvmWorld
from tests.support.pockets import assert_pockets_mirror, transfer_request
from watcher.fates import AccountFates
from watcher.watch import PostgresChainWatch

ETHER = 10**18
GWEI = 10**9
CONFIRMATIONS = 3
HOT_MINOR = 5 * ETHER
CALL_GAS = 400_000
PLAIN_GAS = 21_000
MAX_FEE = 50 * GWEI

TOKENS: Mapping[str, TokenKind] = {
    "USD": TokenKind.PLAIN,
    "FEE": TokenKind.FEE,
    "NRT": TokenKind.NO_RETURN,
    "FLS": TokenKind.FALSE,
    "PAU": TokenKind.REVERTING,
}
"""Listed tokens by code."""


def catalog(contracts: Mapping[str, str]) -> Catalog:
    ether: dict[str, object] = {
        "code": "ETH",
        "chain_id": CHAIN_ID,
        "kind": "native",
        "decimals": 18,
        "name": "Ether",
        "payout_fee_minor": 10,
        "deposit_min_minor": 10**15,
        "sweep_min_minor": 10**17,
    }
    tokens = [
        {
            "code": code,
            "chain_id": CHAIN_ID,
            "kind": "erc20",
            "contract_address": contract,
            "decimals": 6,
            "name": code,
            "payout_fee_minor": 10,
            "deposit_min_minor": 1_000,
            "sweep_min_minor": 5_000,
        }
        for code, contract in contracts.items()
    ]
    chain = {
        "id": CHAIN_ID,
        "family": "evm",
        "name": "Local",
        "native_asset": "ETH",
        "confirmations_min": CONFIRMATIONS,
        "max_fee_ceiling_minor": 200 * GWEI,
        "bump_after_s": 60,
        "batch_wait_ms": 0,
    }
    return Catalog.model_validate({"chains": [chain], "assets": [ether, *tokens]})


@dataclass(frozen=True)
class Sent:
    """A transaction of somebody else, as it can be put into another fork again."""

    txid: str
    raw: str


@dataclass
class EvmBooks:
    """What a test needs to take deposits, sweeps and payouts through a real node, step by step."""

    owner: Database
    api: Database
    worker: Database
    signer_database: Database
    world: EvmWorld
    hot: str = ""
    clock: MovableClock = field(default_factory=MovableClock)
    contracts: dict[str, str] = field(default_factory=dict)
    """Token contracts by the asset's code."""

    def __post_init__(self) -> None:
        self.outlet = self.world.outlet
        self.vault = KeyVault(self.signer_database, Keyring.parse(KEYS), self.clock)
        self.ledger = Ledger(self.worker)
        self.desk = PostgresPayoutDesk(self.worker, self.clock)
        self.deposits = PostgresDepositDesk(self.worker, self.clock)
        self.log = PostgresOutgoingLog(self.worker, self.clock)
        self.planner = AccountPlanner(self.worker, self.outlet, self.clock)
        self.runner = PostgresChainRunner(self.worker, self.outlet, self.planner, self.clock)
        self.watch = self.new_watch()
        self.sweeper = AccountSweeper(self.worker, self.outlet, self.clock)
        self.signer = PostgresBatchSigner(self.signer_database, self.vault, self.clock)
        self.pocket_desk = PostgresPocketDesk(self.worker, self.clock)
        self.spender = AccountPocketSpender(self.worker, self.outlet, self.clock)

    def new_watch(self, outlet: EvmOutlet | None = None) -> PostgresChainWatch:
        """Return another watcher of the same chain, through this outlet if one is given."""
        eyes = outlet or self.outlet
        return PostgresChainWatch(self.worker, eyes, AccountFates(eyes), self.clock)

    async def open(self) -> None:
        for code, kind in TOKENS.items():
            self.contracts[code] = await self.world.token(kind)
        is_paused = False
        await self.mined(self.call("PAU", "set_paused(bool)", is_paused))
        async with self.owner.transaction() as session:
            await apply_catalog(session, catalog(self.contracts))
            session.add_all(people(self.clock))
        async with self.owner.transaction() as session:
            await store_policy(session, parse_policy(AUTOMATIC), by="owner")
        self.hot = await self.vault.ensure_primary_wallet(CHAIN_ID)
        await self.top_up()
        await self.look()

    async def close(self) -> None:
        for database in (self.owner, self.api, self.worker, self.signer_database):
            await database.close()

    async def top_up(self) -> None:
        """Put the operator's own coin on the hot wallet, and on the books."""
        await self.world.rpc("anvil_setBalance", self.hot, hex(HOT_MINOR))
        # No reorg of a test's own blocks may reach below this.
        await self.world.mine(8)
        await self.ledger.post(
            rules.capital_in(
                txid=new_id("in"),
                chain_id=CHAIN_ID,
                asset="ETH",
                amount_minor=HOT_MINOR,
                at=self.clock.now(),
            )
        )

    async def address(self, user_id: str = "u1", *, asset: str = "ETH", key: str = "") -> str:
        request = AddressRequest(user_id, asset, None, user_id, key or new_id("key"))
        async with self.api.transaction() as session:
            return (await issue(session, request, clock=self.clock)).row.address

    # What strangers do. Nothing is mined until it is asked for.

    async def pay(self, destination: str, amount_minor: int) -> Sent:
        return await self._send({"to": destination, "value": amount_minor, "gas": PLAIN_GAS})

    async def transfer(self, code: str, destination: str, amount_minor: int) -> Sent:
        return await self.call(code, "transfer(address,uint256)", destination, amount_minor)

    async def call(self, contract: str, signature: str, *values: Any, coins: int = 0) -> Sent:
        """Call a contract, by its address or the code of its asset."""
        types = _types_of(signature)
        data = keccak(text=signature)[:4] + encode(types, values)
        fields = {"to": self.contracts.get(contract, contract), "value": coins}
        return await self._send({**fields, "data": "0x" + data.hex(), "gas": CALL_GAS})

    async def _send(self, fields: Mapping[str, Any]) -> Sent:
        nonce = await self.world.rpc("eth_getTransactionCount", self.world.wallet, "pending")
        signed = Account.sign_transaction(
            {
                **fields,
                "to": to_checksum_address(fields["to"]),
                "type": 2,
                "chainId": int(CHAIN_ID.removeprefix("eip155:")),
                "nonce": int(nonce, 16),
                "maxFeePerGas": MAX_FEE,
                "maxPriorityFeePerGas": GWEI,
            },
            self.world.private_key,
        )
        raw = "0x" + bytes(signed.raw_transaction).hex()
        return Sent(await self.world.rpc("eth_sendRawTransaction", raw), raw)

    async def raw_of_another(self, contract: str, signature: str, *values: Any) -> Sent:
        """Return a call by another account, signed and not sent: for the fork that is to come."""
        data = keccak(text=signature)[:4] + encode(_types_of(signature), values)
        fields = {
            "from": DEV_ACCOUNT,
            "to": self.contracts.get(contract, contract),
            "data": "0x" + data.hex(),
            "gas": hex(CALL_GAS),
            "nonce": await self.world.rpc("eth_getTransactionCount", DEV_ACCOUNT, "pending"),
            "maxFeePerGas": hex(MAX_FEE),
            "maxPriorityFeePerGas": hex(GWEI),
        }
        return Sent("", await self.world.rpc("eth_signTransaction", fields))

    async def mined(self, sending: Any) -> dict[str, Any]:
        """Send, mine, and return the receipt."""
        sent: Sent = await sending
        await self.world.mine()
        receipt: dict[str, Any] = await self.world.rpc("eth_getTransactionReceipt", sent.txid)
        assert receipt is not None, "it was not mined"
        return receipt

    async def splitter(self, *, tokens_minor: int = 0) -> str:
        """Deploy ``contracts/Splitter.vy`` and give it dollars."""
        address = await self.world.deploy("Splitter")
        if tokens_minor:
            await self.mined(self.transfer("USD", address, tokens_minor))
        return address

    async def reorg(self, depth: int, kept: Sequence[Sequence[Sent]] = ()) -> None:
        """
        Replace the newest blocks by as many others; what is not kept is forgotten.

        ``kept`` says what each new block holds, the lowest first.
        """
        pairs = [[sent.raw, n] for n, block in enumerate(kept) for sent in block]
        await self.world.rpc("anvil_reorg", depth, pairs)

    # What we do.

    async def look(self, watch: PostgresChainWatch | None = None) -> WatchRound:
        """Watch until the tip is read, then let deposits and batches do what is due."""
        watch = watch or self.watch
        found = await watch.watch_once()
        while found.is_behind:
            found = await watch.watch_once()
        for deposit_id in found.deposits:
            await self.deposits.advance(deposit_id)
        await watch.mark_notified(found.deposits)
        for batch_id in found.batches:
            await self.log.settle(batch_id)
        return found

    async def mine(self, blocks: int = 1) -> WatchRound:
        await self.world.mine(blocks)
        return await self.look()

    async def drive(self, batch_id: str) -> None:
        """Bring a batch onto the wire."""
        await self.runner.prepare(batch_id)
        assert await self.log.allocate(batch_id)
        outcome = await self.signer.sign(batch_id)
        assert not outcome.refused
        await self.runner.broadcast(batch_id)

    async def plan(self, *, is_forced: bool = False) -> list[str]:
        """Return the sweeps that are on their way after a look for more."""
        self.wait(1)
        return (await self.sweeper.plan(is_forced=is_forced)).batches

    async def sweep(self, *, is_forced: bool = False) -> list[str]:
        """Plan sweeps and bring them onto the wire."""
        batches = await self.plan(is_forced=is_forced)
        for batch_id in batches:
            await self.drive(batch_id)
        return batches

    async def freeze(
        self, destination: str, amount_minor: int, *, asset: str = "ETH", user_id: str = "u1"
    ) -> Acceptance:
        key = new_id("key")
        return await self.desk.freeze(
            PayoutRequest(
                payout_id=derived_id("pay", user_id, key),
                user_id=user_id,
                principal=user_id,
                idempotency_key=key,
                request_hash="hash",
                asset=asset,
                amount=str(amount_minor),
                destination=destination,
            )
        )

    async def pay_out(self) -> str:
        """Bring every ready payout onto the wire."""
        batch_id = await self.log.claim(
            chain_id=CHAIN_ID, wallet_address=self.hot, claim_key=new_id("claim")
        )
        assert batch_id is not None
        await self.drive(batch_id)
        return batch_id

    # Pockets.

    async def ask(
        self,
        route: Route,
        amount: int | str,
        *,
        asset: str = "ETH",
        user_id: str = "u1",
        destination: str | None = None,
        key: str = "",
    ) -> Acceptance:
        """Ask for a transfer to or from a pocket."""
        return await self.pocket_desk.freeze(
            transfer_request(
                route,
                amount,
                asset=asset,
                chain_id=CHAIN_ID,
                user_id=user_id,
                destination=destination,
                key=key,
            )
        )

    async def fund(self, amount_minor: int, *, asset: str = "ETH", user_id: str = "u1") -> str:
        """Bring an off-chain balance into the user's pocket, to the end; return the transfer."""
        accepted = await self.ask(Route.FUND, amount_minor, asset=asset, user_id=user_id)
        assert accepted.status == PayoutStatus.READY, accepted
        await self.pocket_desk.make_ready(accepted.payout_id)
        await self.pay_out()
        await self.mine(CONFIRMATIONS)
        return accepted.payout_id

    async def spend(self, transfer_id: str) -> PocketStanding:
        """Have a transfer planned by its pocket, and what it needs brought onto the wire."""
        self.wait(1)
        standing = await self.spender.advance(transfer_id)
        for batch_id in standing.batches:
            await self.drive(batch_id)
        return standing

    async def spent(self, route: Route, amount: int | str, **asked: Any) -> str:
        """Take a transfer from a pocket to its end, gas and all."""
        accepted = await self.ask(route, amount, **asked)
        assert accepted.status == PayoutStatus.READY, accepted
        while (await self.spend(accepted.payout_id)).status == PayoutStatus.READY:
            await self.mine(CONFIRMATIONS)
        await self.mine(CONFIRMATIONS)
        return accepted.payout_id

    async def payout(self, payout_id: str) -> Payout:
        async with self.owner.transaction() as session:
            return await session.get_one(Payout, payout_id)

    async def pocket(self, user_id: str = "u1") -> ChainAddress | None:
        async with self.owner.transaction() as session:
            return await find_pocket(session, user_id, CHAIN_ID)

    async def onchain(self, asset: str = "ETH", user_id: str = "u1") -> tuple[int, int]:
        """Return what the books have on a user's pocket: free, and held."""
        free_minor = await self.balance(chart.onchain(user_id, CHAIN_ID), asset)
        return free_minor, await self.balance(chart.onchain_held(user_id, CHAIN_ID), asset)

    # What the books say.

    async def all_deposits(self) -> list[ChainDeposit]:
        async with self.owner.transaction() as session:
            order = (col(ChainDeposit.seen_at), col(ChainDeposit.txid), col(ChainDeposit.position))
            return list(await session.exec(select(ChainDeposit).order_by(*order)))

    async def statuses(self) -> list[str]:
        return [deposit.status for deposit in await self.all_deposits()]

    async def transactions(self) -> list[ChainTransaction]:
        async with self.owner.transaction() as session:
            order = (col(ChainTransaction.created_at), col(ChainTransaction.id))
            return list(await session.exec(select(ChainTransaction).order_by(*order)))

    async def payouts(self) -> list[Payout]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(Payout).order_by(col(Payout.created_at))))

    async def freezes(self) -> list[UserFreeze]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(UserFreeze)))

    async def available(self, asset: str = "ETH", user_id: str = "u1") -> int:
        async with self.owner.transaction() as session:
            balances = await customer_balances(session, user_id)
        return sum(b.available_minor for b in balances if b.asset == asset)

    async def balance(self, code: str, asset: str = "ETH") -> int:
        async with self.owner.transaction() as session:
            return await account_balance(session, code, asset)

    async def omnibus(self, asset: str = "ETH") -> tuple[int, int]:
        """Return what the books say of the hot wallet, and of the deposit addresses."""
        hot = -await self.balance(chart.omnibus_hot(CHAIN_ID), asset)
        return hot, -await self.balance(chart.omnibus_deposit(CHAIN_ID), asset)

    async def on_chain(self, asset: str = "ETH") -> tuple[int, int]:
        """Return what the node says of the hot wallet, and of the deposit addresses."""
        async with self.owner.transaction() as session:
            contract = (await session.get_one(Asset, asset)).contract_address
            handed_out = await session.exec(
                select(ChainAddress.address).where(
                    ChainAddress.branch == EXTERNAL,
                    ChainAddress.purpose == AddressPurpose.DEPOSIT,
                )
            )
            addresses = list(handed_out)
        found = [
            await self.outlet.balance_minor(address, contract_address=contract)
            for address in (self.hot, *addresses)
        ]
        return found[0], sum(found[1:])

    async def assert_books_equal_chain(self) -> None:
        """Compare the omnibus accounts with what the node says of every address of ours."""
        async with self.owner.transaction() as session:
            assert set((await asset_sums(session)).values()) <= {0}
        for asset in ("ETH", *self.contracts):
            assert (asset, *await self.omnibus(asset)) == (asset, *await self.on_chain(asset))
        await assert_pockets_mirror(self)

    async def execute(self, statement: str, *parameters: Any) -> None:
        """Run SQL as the superuser."""
        async with self.owner.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql(statement, parameters)

    def wait(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))


def _types_of(signature: str) -> list[str]:
    inside = signature.partition("(")[2].removesuffix(")")
    return inside.split(",") if inside else []


@asynccontextmanager
async def opened_evm_books(url: str, world: EvmWorld) -> AsyncIterator[EvmBooks]:
    api, worker, signer = (Database(as_role(url, role)) for role in ("api", "worker", "signer"))
    books = EvmBooks(Database(url), api, worker, signer, world)
    try:
        await books.open()
        yield books
    finally:
        await books.close()


@pytest.fixture
async def evm_books(database_url: str, evm_world: EvmWorld) -> AsyncIterator[EvmBooks]:
    async with opened_evm_books(database_url, evm_world) as books:
        yield books
