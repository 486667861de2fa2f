"""Ledger transfers against the same SQL sent bare, and bulk against single."""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from devnet.site import Site
from domain.clock import SystemClock
from domain.ids import new_id
from infra.database import Database
from ledger import chart, rules
from ledger.posting import Posting
from ledger.service import POST_SQL, Ledger

AT_ONCE = 8
ACCOUNTS = 64
BULK = 5_000
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """Transfers per second, of this machine and this run only."""

    single_per_s: float
    bare_sql_per_s: float
    bulk_per_s: float

    @property
    def ledger_vs_bare_sql(self) -> float:
        """What our own code costs around the SQL: 1 is nothing."""
        return self.single_per_s / self.bare_sql_per_s

    @property
    def ledger_bulk_vs_single(self) -> float:
        """How much cheaper a transfer is among thousands."""
        return self.bulk_per_s / self.single_per_s


async def measure(site: Site, *, count: int) -> LedgerFigures:
    """Alternate rounds; return the medians."""
    database = Database(site.database_url(), pool_size=AT_ONCE)
    ledger = Ledger(database)
    await ledger.post(*(_deposit(n) for n in range(ACCOUNTS)))

    async def single(posting: Posting) -> None:
        await ledger.post(posting)

    async def bare(document: str) -> None:
        async with database.statement() as connection:
            result = await connection.exec_driver_sql(POST_SQL, {"postings": document})
            result.scalar_one()

    singles, bares, bulks = [], [], []
    for _ in range(ROUNDS):
        singles.append(await rate(single, _transfers(count)))
        documents = [json.dumps([p.as_json()]) for p in _transfers(count)]
        bares.append(await rate(bare, documents))
        began = time.perf_counter()
        await ledger.post(*_transfers(BULK))
        bulks.append(BULK / (time.perf_counter() - began))
    await database.close()
    return LedgerFigures(
        statistics.median(singles), statistics.median(bares), statistics.median(bulks)
    )


async def rate[Item](send: Callable[[Item], Awaitable[None]], items: Sequence[Item]) -> float:
    queue = list(items)

    async def worker() -> None:
        while queue:
            await send(queue.pop())

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return len(items) / (time.perf_counter() - began)


def _transfers(count: int) -> list[Posting]:
    now = SystemClock().now()
    return [
        rules.transfer(
            key=new_id("bench"),
            source=chart.available(f"bench{n % ACCOUNTS}"),
            target=chart.available(f"bench{(n + 1) % ACCOUNTS}"),
            asset="BENCH",
            amount_minor=1,
            at=now,
        )
        for n in range(count)
    ]


def _deposit(number: int) -> Posting:
    return rules.deposit(
        txid=new_id("bench"),
        user_id=f"bench{number}",
        chain_id="bench",
        asset="BENCH",
        amount_minor=10**9,
        at=SystemClock().now(),
    )
