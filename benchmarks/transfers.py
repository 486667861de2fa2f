"""
Transfers between users through the desk, against the same rows written by one bare statement.

The second factor is taken for granted: a code is good once in half a minute.
"""

import json
import statistics
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from benchmarks.ledger import AT_ONCE, rate
from devnet.site import Site
from domain.clock import SystemClock
from domain.ids import EVENT, TRANSFER, USER, new_id
from domain.transfers import Recipient, TransferRequest
from identity.permits import Permits
from infra.database import Database
from infra.keyring import Keyring
from ledger import rules
from ledger.service import Ledger
from models.identity import SecondFactor, User
from models.wallets import Asset
from transfers.desk import TransferDesk

USERS = 64
ROUNDS = 5

BARE_SQL = """
    WITH t AS (
        INSERT INTO transfer SELECT * FROM jsonb_populate_record(NULL::transfer, %(row)s::jsonb)
        RETURNING *
    ), e AS (
        INSERT INTO transfer_event (transfer_id, status, at)
        SELECT id, status, created_at FROM t
    ), l AS (
        INSERT INTO limit_lock (user_id, operation, reservations) SELECT user_id, 'send', 1 FROM t
        ON CONFLICT (user_id, operation) DO UPDATE SET reservations = limit_lock.reservations + 1
    ), u AS (
        INSERT INTO limit_usage (key, user_id, operation, asset, amount_minor, times, resource_id,
                                 at, recorded_at)
        SELECT 'send:' || id || ':', user_id, 'send', asset, amount_minor, 1, id, created_at, now()
        FROM t
    ), o AS (
        INSERT INTO outbox_event (id, user_id, kind, resource_id, data, at)
        SELECT v.id, v.user_id, v.kind, t.id, '{}', t.created_at FROM t, LATERAL (VALUES
            (%(sent)s, t.user_id, 'transfer.sent'),
            (%(received)s, t.recipient_id, 'transfer.received')) v (id, user_id, kind)
    )
    SELECT ledger_post(%(postings)s::jsonb)
"""


@dataclass(frozen=True, slots=True)
class TransferFigures:
    """Transfers per second, of this machine and this run only."""

    desk_per_s: float
    bare_sql_per_s: float

    @property
    def transfer_vs_bare_sql(self) -> float:
        """What checks, locks, limits, events and our own code cost: 1 is nothing."""
        return self.desk_per_s / self.bare_sql_per_s


async def measure(site: Site, *, count: int) -> TransferFigures:
    """Alternate rounds; return the medians."""
    owner = Database(site.database_url(), pool_size=AT_ONCE)
    api = Database(site.database_url("strongroom_api"), pool_size=AT_ONCE)
    permits = Permits(api, Keyring.parse(site.secrets.data_keys))
    desk = TransferDesk(api, SystemClock(), permits)
    users, asset = await _furnish(owner)

    async def through_the_desk(request: TransferRequest) -> None:
        await desk.send(request, spend=_granted)

    async def bare(parameters: dict[str, Any]) -> None:
        async with owner.statement() as connection:
            (await connection.exec_driver_sql(BARE_SQL, parameters)).scalar_one()

    desks, bares = [], []
    for _ in range(ROUNDS):
        desks.append(await rate(through_the_desk, _requests(users, asset, count)))
        bares.append(await rate(bare, [_bare(*pair, asset) for pair in _pairs(users, count)]))
    await api.close()
    await owner.close()
    return TransferFigures(statistics.median(desks), statistics.median(bares))


async def _granted(session: AsyncSession) -> str:
    del session
    return "totp"


async def _furnish(owner: Database) -> tuple[list[str], str]:
    now = SystemClock().now()
    users = [new_id(USER) for _ in range(USERS)]
    async with owner.transaction() as session:
        asset = (await session.exec(select(Asset.code).where(col(Asset.enabled)))).first()
        people = [
            {"id": u, "email": f"{u}@bench", "password_hash": "-", "roles": [], "created_at": now}
            for u in users
        ]
        await session.execute(insert(User), people)
        factor = {"sealed_secret": b"", "enabled_at": now, "last_step": 0, "failures": 0}
        await session.execute(insert(SecondFactor), [factor | {"user_id": u} for u in users])
    deposits = [
        rules.deposit(
            txid=new_id("bench"),
            user_id=user_id,
            chain_id="bench",
            asset=str(asset),
            amount_minor=10**9,
            at=now,
        )
        for user_id in users
    ]
    await Ledger(owner).post(*deposits)
    return users, str(asset)


def _pairs(users: list[str], count: int) -> list[tuple[str, str]]:
    return [(users[n % USERS], users[(n + 1) % USERS]) for n in range(count)]


def _requests(users: list[str], asset: str, count: int) -> list[TransferRequest]:
    return [
        TransferRequest(
            transfer_id=(transfer_id := new_id(TRANSFER)),
            user_id=sender,
            principal=sender,
            idempotency_key=transfer_id,
            request_hash="-",
            recipient=Recipient(user_id=recipient),
            asset=asset,
            amount_minor=1,
        )
        for sender, recipient in _pairs(users, count)
    ]


def _bare(sender: str, recipient: str, asset: str) -> dict[str, Any]:
    now, transfer_id = SystemClock().now(), new_id(TRANSFER)
    posting = rules.user_transfer(
        transfer_id=transfer_id,
        sender_id=sender,
        recipient_id=recipient,
        asset=asset,
        amount_minor=1,
        at=now,
    )
    row = {
        "id": transfer_id,
        "user_id": sender,
        "recipient_id": recipient,
        "principal": sender,
        "idempotency_key": transfer_id,
        "request_hash": "-",
        "asset": asset,
        "amount_minor": 1,
        "fee_minor": 0,
        "second_factor": "totp",
        "status": "completed",
        "created_at": now.isoformat(),
        "updated_at": now.isoformat(),
    }
    return {
        "row": json.dumps(row),
        "sent": new_id(EVENT),
        "received": new_id(EVENT),
        "postings": json.dumps([posting.as_json()]),
    }
