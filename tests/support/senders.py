"""Users who send each other money: the API in this process as its own database role."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import StrongroomError
from domain.ids import TRANSFER, derived_id, new_id
from domain.transfers import Recipient, TransferRequest
from identity.services import Identity
from infra.database import Database
from ledger.queries import asset_sums, customer_balances
from ledger.verify import verify
from models.events import OutboxEvent
from models.identity import Role
from models.ledger import LedgerTransaction
from models.transfers import Transfer
from payouts.catalog import apply_catalog
from tests.support.api import running_api
from tests.support.bank import CATALOG, fund
from tests.support.books import as_role
from tests.support.clocks import MovableClock
from tests.support.identity import Person, identity_for_tests, new_person
from transfers.desk import TransferDesk

FUNDS_MINOR = 10_000


@dataclass
class Street:
    """Some users with money, and the door they knock at."""

    owner: Database
    api: Database
    identity: Identity
    clock: MovableClock
    client: httpx.AsyncClient
    people: dict[str, Person] = field(default_factory=dict)

    async def person(self, name: str, *roles: Role, funds_minor: int = FUNDS_MINOR) -> Person:
        """Return an enrolled user of this name with money, made when first asked for."""
        if name not in self.people:
            created = await new_person(self.identity, self.clock, name=name, roles=roles)
            self.people[name] = await created.enrol()
            if funds_minor:
                await fund(self.owner, created.id, self.clock, amount_minor=funds_minor)
        return self.people[name]

    async def named(self, name: str, **options: Any) -> Person:
        """Return a user whose handle is their name."""
        person = await self.person(name, **options)
        answer = await self.call("PUT", "/v1/handles/me", person, {"handle": name})
        assert answer.status_code == 200, answer.text
        return person

    async def get(self, path: str, person: Person) -> httpx.Response:
        return await self.client.get(path, headers=person.headers)

    async def call(
        self,
        method: str,
        path: str,
        person: Person,
        body: Any = None,
        *,
        key: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request with these headers and no others."""
        sent = person.headers | {"Content-Type": "application/json"} | (headers or {})
        sent |= {"Idempotency-Key": key} if key else {}
        sent |= {"TOTP-Code": code} if code else {}
        content = b"" if body is None else json.dumps(body).encode()
        return await self.client.request(method, path, content=content, headers=sent)

    async def money_call(
        self, path: str, person: Person, body: Any, *, key: str | None = None
    ) -> httpx.Response:
        """Send a request that moves money, with a fresh code."""
        self.clock.advance(timedelta(seconds=30))
        chosen = key or new_id("key")
        return await self.call("POST", path, person, body, key=chosen, code=person.code())

    async def send(
        self, person: Person, to: str, amount: Any = "100", *, key: str | None = None, **more: Any
    ) -> httpx.Response:
        body = {"to": to, "asset": "ETH", "amount": amount} | more
        said = {name: value for name, value in body.items() if value is not None}
        return await self.money_call("/v1/transfers", person, said, key=key)

    async def ask(self, person: Person, *, key: str | None = None, **body: Any) -> httpx.Response:
        said = {"asset": "ETH", "amount": "100"} | body
        key = key or new_id("key")
        return await self.call("POST", "/v1/money-requests", person, said, key=key)

    @property
    def desk(self) -> TransferDesk:
        """The transfer desk itself, as the API's role."""
        return TransferDesk(self.api, self.clock, self.identity.permits)

    async def sent(
        self,
        sender: Person,
        recipient: Person | None,
        amount_minor: int | None = 1,
        *,
        asset: str | None = "ETH",
        key: str | None = None,
        money_request_id: str | None = None,
    ) -> Transfer | StrongroomError:
        """Send by the desk, as somebody whose second factor is good; return what became of it."""
        key = key or new_id("key")
        request = TransferRequest(
            transfer_id=derived_id(TRANSFER, sender.id, key),
            user_id=sender.id,
            principal=sender.id,
            idempotency_key=key,
            request_hash=f"{recipient and recipient.id}:{amount_minor}",
            recipient=None if recipient is None else Recipient(user_id=recipient.id),
            asset=asset,
            amount_minor=amount_minor,
            money_request_id=money_request_id,
        )
        try:
            return await self.desk.send(request, spend=approve)
        except StrongroomError as error:
            return error

    async def available(self, person: Person, asset: str = "ETH") -> int:
        async with self.owner.transaction() as session:
            found = {b.asset: b for b in await customer_balances(session, person.id)}
        return found[asset].available_minor if asset in found else 0

    async def transfers(self) -> list[Transfer]:
        async with self.owner.transaction() as session:
            return list(await session.exec(select(Transfer).order_by(col(Transfer.id))))

    async def posted(self) -> list[LedgerTransaction]:
        async with self.owner.transaction() as session:
            rule = LedgerTransaction.rule == "user_transfer"
            return list(await session.exec(select(LedgerTransaction).where(rule)))

    async def events(self, person: Person) -> list[tuple[str, str]]:
        """Return kind and resource of all that this user was told, in order."""
        async with self.owner.transaction() as session:
            found = await session.exec(
                select(OutboxEvent)
                .where(OutboxEvent.user_id == person.id)
                .order_by(col(OutboxEvent.seq))
            )
            return [(event.kind, event.resource_id) for event in found]

    async def execute(
        self, statement: str, *parameters: object, database: Database | None = None
    ) -> None:
        """Run SQL as the superuser, or as whose database this is."""
        async with (database or self.owner).transaction() as session:
            await (await session.connection()).exec_driver_sql(statement, parameters or None)

    async def assert_sound(self) -> None:
        """Check that money is conserved and the hash chain whole."""
        async with self.owner.snapshot() as session:
            assert set((await asset_sums(session)).values()) <= {0}
            assert [step.broken async for step in verify(session)][-1] is None


async def approve(session: AsyncSession) -> str:
    """Take any second factor for good."""
    del session
    return "totp"


def codes(outcomes: Iterable[Transfer | StrongroomError]) -> Counter[str]:
    """Count what became of transfers: the refusals by code, and those made."""
    return Counter(o.code if isinstance(o, StrongroomError) else "made" for o in outcomes)


@asynccontextmanager
async def open_street(database_url: str, *, pool_size: int = 20) -> AsyncIterator[Street]:
    """Yield a street that nobody lives in yet."""
    owner = Database(database_url)
    api = Database(as_role(database_url, "api"), pool_size=pool_size)
    clock = MovableClock(datetime.now(UTC))
    identity = identity_for_tests(api, clock)
    try:
        async with owner.transaction() as session:
            await apply_catalog(session, CATALOG)
        async with running_api(api, identity, clock=clock) as client:
            yield Street(owner, api, identity, clock, client)
    finally:
        await api.close()
        await owner.close()


@pytest.fixture
async def street(database_url: str) -> AsyncIterator[Street]:
    async with open_street(database_url) as opened:
        yield opened
