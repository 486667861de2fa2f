"""Asking every source and keeping what it says."""

import asyncio
import logging
from collections.abc import Collection, Sequence

from domain.errors import RateUnavailableError
from domain.gateway_ports import RateSource
from domain.rates import Observation
from gateways.rates.market import store_observations
from gateways.rates.table import current_table
from infra.database import Database

logger = logging.getLogger(__name__)


class PostgresRateDesk:
    """``domain.gateway_ports.RateDesk`` on PostgreSQL."""

    def __init__(self, database: Database, sources: Sequence[RateSource]) -> None:
        """Take the database as the worker's role, and whom to ask."""
        self._database = database
        self._sources = sources

    async def refresh(self) -> int:
        """Ask every source for what the table of rates needs; return how many prices came."""
        symbols = await self._symbols()
        if not symbols:
            return 0
        asked = await asyncio.gather(*(_observed(source, symbols) for source in self._sources))
        found = [each for some in asked for each in some]
        async with self._database.transaction() as session:
            await store_observations(session, found)
        return len(found)

    async def _symbols(self) -> Collection[str]:
        async with self._database.transaction() as session:
            try:
                return (await current_table(session)).document.symbols
            except RateUnavailableError:
                return frozenset()


async def _observed(source: RateSource, symbols: Collection[str]) -> Sequence[Observation]:
    try:
        return await source.observe(symbols)
    except RateUnavailableError as error:
        # The others may be enough; if they are not, no quote is given.
        logger.warning("%s", error.detail)
        return ()
