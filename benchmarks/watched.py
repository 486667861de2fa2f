"""Copies of a stack's database that differ in how many addresses they have to search for."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
from psycopg import sql
from sqlalchemy import text

from devnet.bootstrap import BITCOIN_CHAIN, CHAIN
from devnet.site import DATABASE, Site
from infra.database import Database

LOOKUP_PREFIXES = {CHAIN: "", BITCOIN_CHAIN: "0014"}
"""What comes before the 20 bytes of a lookup key, in hex: nothing, or that of P2WPKH."""

_INSERT = """
    INSERT INTO chain_address (id, chain_id, address, lookup_key, branch, index, next_account_nonce,
                               created_at)
    SELECT 'adr_' || CAST(:chain AS text) || n, :chain, 'bench ' || n,
           decode(CAST(:prefix AS text)
                  || substr(encode(sha256(n::text::bytea), 'hex'), 1, 40), 'hex'),
           0, n - 1, 0, now()
    FROM generate_series(1, CAST(:count AS integer)) n
"""


@asynccontextmanager
async def opened_databases(
    site: Site, counts: Sequence[int]
) -> AsyncIterator[Mapping[int, Database]]:
    """Yield a database for each number of addresses, which it has on every chain."""
    found: dict[int, Database] = {}
    async with AsyncExitStack() as stack:
        for count in counts:
            name = f"{DATABASE}_{count}"
            await _copy(site, name)
            found[count] = Database(site.database_url(database=name))
            stack.push_async_callback(found[count].close)
            await _watch_addresses(found[count], count)
        yield found


async def _copy(site: Site, name: str) -> None:
    """Copy the stack's database, to which nobody is connected."""
    url = site.database_url(database="postgres")
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.format(sql.Identifier(name), sql.Identifier(DATABASE)))


async def _watch_addresses(database: Database, count: int) -> None:
    for chain_id, prefix in LOOKUP_PREFIXES.items():
        async with database.transaction() as session:
            await session.execute(
                text(_INSERT), {"chain": chain_id, "prefix": prefix, "count": count}
            )
    async with database.statement() as connection:
        await connection.exec_driver_sql("VACUUM ANALYZE chain_address")
