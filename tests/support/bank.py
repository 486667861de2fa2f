"""The API over a real PostgreSQL and a real Temporal server, with a wallet worker; no chain."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner

import worker
from api.state import AppState
from domain.hd import account_path
from domain.ids import new_id
from domain.policy import PolicyDocument
from identity.services import Identity
from infra.database import Database
from infra.settings import ApiSettings
from ledger import rules
from ledger.service import Ledger
from ledger.verify import verify
from models.deposits import HdAccount
from models.identity import Role
from models.wallets import BlockchainWallet, WalletType
from payouts.catalog import Catalog, apply_catalog
from payouts.policy import store_policy
from signing.hd import account_xpub, fingerprint
from tests.support.api import api_settings, opened_app
from tests.support.clocks import MovableClock
from tests.support.identity import Person, identity_for_tests, new_person

CHAIN_ID = "eip155:31337"
HOT_WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
DESTINATION = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

FEE_MINOR = 10
AUTOMATIC_MAX_MINOR = 1_000
ONE_APPROVER_MAX_MINOR = 10_000
PAYOUT_MAX_MINOR = 10**18
FUNDS_MINOR = 50_000
DAILY_LIMIT_MINOR = 60_000
APPROVAL_LIFETIME = timedelta(hours=1)

CATALOG = Catalog.model_validate(
    {
        "chains": [
            {
                "id": CHAIN_ID,
                "family": "evm",
                "name": "Testnet",
                "native_asset": "ETH",
                "confirmations_min": 3,
                "max_fee_ceiling_minor": 10**12,
                "batch_wait_ms": 0,
            }
        ],
        "assets": [
            {
                "code": "ETH",
                "chain_id": CHAIN_ID,
                "kind": "native",
                "decimals": 18,
                "name": "Ether",
                "payout_fee_minor": FEE_MINOR,
                "payout_min_minor": 5,
                "payout_max_minor": PAYOUT_MAX_MINOR,
            },
            {
                "code": "USD",
                "chain_id": CHAIN_ID,
                "kind": "erc20",
                "contract_address": TOKEN,
                "decimals": 6,
                "name": "Dollar",
            },
        ],
    }
)

POLICY = PolicyDocument.model_validate(
    {
        "rules": [
            {"asset": "ETH", "up_to_minor": str(AUTOMATIC_MAX_MINOR), "approvals": 0},
            {"asset": "ETH", "up_to_minor": str(ONE_APPROVER_MAX_MINOR), "approvals": 1},
            {"asset": "*", "approvals": 2},
        ],
        "approval_expires_s": int(APPROVAL_LIFETIME.total_seconds()),
        "limits": [
            {"asset": "ETH", "window_s": 86_400, "amount_minor": str(DAILY_LIMIT_MINOR)},
        ],
    }
)


@dataclass
class Bank:
    """A running installation with one funded customer."""

    app: FastAPI
    client: httpx.AsyncClient
    state: AppState
    clock: MovableClock
    identity: Identity
    customer: Person
    stack: AsyncExitStack
    staff: dict[str, Person] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        return self.state.database

    async def person(self, name: str, *roles: Role) -> Person:
        """Return an enrolled user of this name, made when first asked for."""
        if name not in self.staff:
            created = await new_person(self.identity, self.clock, name=name, roles=roles)
            self.staff[name] = await created.enrol()
        return self.staff[name]

    async def get(self, path: str, person: Person | None = None) -> httpx.Response:
        return await self.client.get(path, headers=(person or self.customer).headers)

    async def send(
        self,
        method: str,
        path: str,
        *,
        person: Person | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request with a fresh code, unless the headers say otherwise."""
        caller = person or self.customer
        if headers is None or "TOTP-Code" not in headers:
            self.clock.advance(timedelta(seconds=30))
        code = {"TOTP-Code": caller.code()} if caller.secret else {}
        sent = caller.headers | code | {"Content-Type": "application/json"} | (headers or {})
        sent = {name: value for name, value in sent.items() if value}
        # ASCII: a test may spell what UTF-8 cannot, such as half of a surrogate pair.
        content = b"" if body is None else json.dumps(body).encode()
        return await self.client.request(method, path, content=content, headers=sent)

    async def pay(
        self,
        amount: Any = "100",
        *,
        key: str | None = None,
        person: Person | None = None,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> httpx.Response:
        """Ask for a payout; fields and headers given replace the right ones."""
        body = {"asset": "ETH", "amount": amount, "destination": DESTINATION} | fields
        chosen = {"Idempotency-Key": new_id("key") if key is None else key} | (headers or {})
        return await self.send("POST", "/v1/payouts", person=person, body=body, headers=chosen)

    async def decide(self, payout_id: str, what: str, person: Person) -> httpx.Response:
        return await self.send(
            "POST", f"/v1/payouts/{payout_id}/{what}", person=person, body={"note": None}
        )

    async def balances(self, person: Person | None = None) -> tuple[int, int]:
        """Return what the customer has of ETH: available and held."""
        answer = await self.get("/v1/wallets", person)
        found = {b["asset"]: b for b in answer.json()["balances"]}
        return int(found["ETH"]["available"]), int(found["ETH"]["held"])

    async def statement_kinds(self) -> list[str]:
        """Return the kinds of the customer's entries, oldest first."""
        answer = await self.get("/v1/wallets/ETH/statement")
        return [line["kind"] for line in reversed(answer.json()["items"])]

    async def payouts(self) -> list[dict[str, Any]]:
        answer = await self.get("/v1/payouts")
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def broken_promise(self) -> str | None:
        """Return what the books' own verification finds wrong, if anything."""
        async with self.database.snapshot() as session:
            found = [step.broken async for step in verify(session)]
        assert found
        return found[-1]

    async def stop_worker(self) -> None:
        await self.stack.aclose()

    def worker(self) -> AbstractAsyncContextManager[None]:
        """Return another worker, running inside the block."""
        return running_worker(self.state.temporal, self.database, self.clock)

    @asynccontextmanager
    async def without(self, **replaced: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Yield a client of the same API with other collaborators."""
        state = dataclasses.replace(self.state, **replaced)
        async with served(state) as (_, client):
            yield client


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["code"])


@asynccontextmanager
async def served(
    state: AppState, **changes: Any
) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """Yield the application over these collaborators, and a client of it."""

    @asynccontextmanager
    async def opener(settings: ApiSettings) -> AsyncIterator[AppState]:
        del settings
        yield state

    async with opened_app(state.settings.model_copy(update=changes), opener) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api.example", timeout=60
        ) as client:
            yield app, client


@asynccontextmanager
async def running_worker(
    client: Client, database: Database, clock: MovableClock
) -> AsyncIterator[None]:
    """Serve the wallet queue, with decisions judged by this clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "CLOCK", clock)
        # Their own tests run workflows in the sandbox, which imports them anew each time.
        patch.setattr(worker, "sandbox", UnsandboxedWorkflowRunner)
        serving = worker.wallet_worker(worker.Process(client, database))
    running = asyncio.create_task(serving.run())
    try:
        yield
    finally:
        await serving.shutdown()
        await running


@asynccontextmanager
async def open_bank(temporal: Client, database: Database) -> AsyncIterator[Bank]:
    """Yield an installation whose books say where every unit is."""
    clock = MovableClock(datetime.now(UTC))
    identity = identity_for_tests(database, clock)
    await _furnish(database)
    settings = api_settings().model_copy(
        update={"temporal_namespace": temporal.namespace, "database_url": SecretStr("unused")}
    )
    state = AppState(
        settings=settings, database=database, identity=identity, temporal=temporal, clock=clock
    )
    customer = await (await new_person(identity, clock, name="customer")).enrol()
    await fund(database, customer.id, clock)
    async with served(state) as (app, client), AsyncExitStack() as stack:
        await stack.enter_async_context(running_worker(temporal, database, clock))
        yield Bank(app, client, state, clock, identity, customer, stack)


async def fund(
    database: Database, user_id: str, clock: MovableClock, *, amount_minor: int = FUNDS_MINOR
) -> None:
    posting = rules.deposit(
        txid=new_id("0x"),
        user_id=user_id,
        chain_id=CHAIN_ID,
        asset="ETH",
        amount_minor=amount_minor,
        at=clock.now(),
    )
    await Ledger(database).post(posting)


async def _furnish(database: Database) -> None:
    async with database.transaction() as session:
        await apply_catalog(session, CATALOG)
        await store_policy(session, POLICY, by="test")
        session.add(
            BlockchainWallet(
                uuid=new_id("wal"),
                chain_id=CHAIN_ID,
                address=HOT_WALLET,
                pub_key="04",
                type=WalletType.HOT,
                primary=True,
            )
        )
        session.add(hd_account(CHAIN_ID))


def hd_account(chain_id: str, seed: bytes = bytes(32)) -> HdAccount:
    """Return a chain's account as the signer makes it, of a seed that everybody knows."""
    return HdAccount(
        chain_id=chain_id,
        path=account_path(chain_id),
        xpub=account_xpub(seed, chain_id),
        fingerprint=fingerprint(seed),
        created_at=datetime.now(UTC),
    )
