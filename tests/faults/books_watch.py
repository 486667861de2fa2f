"""Whoever compares the books of mixers all the time, while processes die."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import text

from devnet.site import Site
from domain.errors import DatabaseUnavailableError
from domain.mixing.messages import MixStatus
from infra.database import Database
from mixers.check import all_books

INTERVAL_S = 1.0

_STANDINGS = text("""
    SELECT m.id, m.status, count(l.deposit_id) FILTER (WHERE l.status <> 'taken_back') AS decided,
           count(d.id) FILTER (WHERE d.is_booked OR d.status IN ('seen', 'confirming')) AS deposits
    FROM mix m
    LEFT JOIN chain_deposit d ON d.address_id = m.address_id AND d.asset = m.asset
    LEFT JOIN mix_lot l ON l.deposit_id = d.id
    GROUP BY m.id
""")


@dataclass(frozen=True)
class Standing:
    """Where a mix stands: its status, what came, and how much of that was decided on."""

    status: MixStatus
    decided: int
    deposits: int


class BooksWatch:
    """Always, house = fees + owed; each look is at one state of the database."""

    def __init__(self, site: Site) -> None:
        self.polls = 0
        self.violations: list[str] = []
        self.standings: dict[str, Standing] = {}
        self.over = asyncio.Event()
        self._news = asyncio.Condition()
        self._database = Database(site.database_url(), pool_size=1)

    async def run(self) -> None:
        """Look until it is over, and once more then."""
        while not self.over.is_set():
            await self._look_if_there()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), INTERVAL_S)
        await self._look_if_there()
        await self._database.close()

    async def _look_if_there(self) -> None:
        # Its server is killed too.
        with suppress(DatabaseUnavailableError):
            for books in await all_books(self._database):
                if books.imbalance_minor:
                    self.violations.append(f"poll {self.polls}: {books}")
            self.standings = await self._standings()
            await self._tell()

    async def _standings(self) -> dict[str, Standing]:
        async with self._database.transaction() as session:
            found = await session.execute(_STANDINGS)
            return {
                row.id: Standing(MixStatus(row.status), row.decided, row.deposits) for row in found
            }

    async def _tell(self) -> None:
        self.polls += 1
        async with self._news:
            self._news.notify_all()

    async def until(self, mix_id: str, statuses: Collection[MixStatus]) -> None:
        """Wait until a mix was seen to stand at one of these."""
        async with self._news:
            await self._news.wait_for(lambda: self._stands(mix_id) in statuses)

    def _stands(self, mix_id: str) -> MixStatus | None:
        seen = self.standings.get(mix_id)
        return seen.status if seen else None
