"""
Catching up with a chain: the whole watcher beside the bare fetch of the same blocks.

Both fetch through the same client in the same batches; the watcher also parses, searches every
movement for our addresses, and writes, on a real PostgreSQL. Measured on a real node of each chain
family, with blocks that are not empty, and with up to a million addresses to search for.
"""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from benchmarks.chains import ALONE, fill_bitcoin, fill_evm
from chains.evm.outlet import EvmOutlet
from chains.json_rpc import Rpc
from chains.utxo.outlet import CoinOutlet
from devnet.bootstrap import BITCOIN_CHAIN, CHAIN
from devnet.site import Site
from domain.clock import SystemClock
from domain.ports import ChainOutlet
from infra.database import Database
from models.chain_transactions import ChainBlock
from watcher.fates import AccountFates, CoinFates, FateReader
from watcher.watch import RUN_BLOCKS, PostgresChainWatch

BLOCKS = 512
ROUNDS = 3
WATCHED = (ALONE, 10_000, 1_000_000)
"""How many addresses are searched for."""

_INSERT = """
    INSERT INTO chain_address (id, chain_id, address, lookup_key, branch, index, next_account_nonce,
                               created_at)
    SELECT 'adr_' || CAST(:chain AS text) || n, :chain, 'bench ' || n,
           decode(CAST(:prefix AS text)
                  || substr(encode(sha256(n::text::bytea), 'hex'), 1, 40), 'hex'),
           0, n, 0, now()
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) n
"""


@dataclass
class CatchupFigures:
    """Blocks per second by chain and number of addresses; rates of this machine and run only."""

    bare_per_s: dict[str, float] = field(default_factory=dict)
    watched_per_s: dict[str, dict[int, float]] = field(default_factory=dict)

    @property
    def catchup_vs_bare_rpc(self) -> float:
        """The slower chain's watcher beside the bare fetch of its blocks."""
        return min(self.watched_per_s[c][ALONE] / self.bare_per_s[c] for c in self.bare_per_s)

    @property
    def scan_1m_vs_1_address(self) -> float:
        """What a million addresses leave of the speed with one, on the chain that suffers most."""
        return min(rates[WATCHED[-1]] / rates[ALONE] for rates in self.watched_per_s.values())


@dataclass(frozen=True, slots=True)
class _Chain:
    """One chain under measurement."""

    name: str
    outlet: ChainOutlet
    fates: FateReader
    fetch: Callable[[int, int], Awaitable[Any]]
    prefix: str
    """What comes before 20 bytes of a lookup key, in hex."""


async def measure(site: Site) -> CatchupFigures:
    """Fill both chains with blocks, then alternate rounds; return the medians."""
    await fill_evm(site, blocks=BLOCKS)
    await fill_bitcoin(site, blocks=BLOCKS)
    evm = EvmOutlet(CHAIN, site.rpc_urls[CHAIN])
    bitcoin = CoinOutlet(BITCOIN_CHAIN, site.rpc_urls[BITCOIN_CHAIN])
    chains = (
        _Chain("evm", evm, AccountFates(evm), _evm_fetch(evm._rpc), ""),  # noqa: SLF001
        _Chain("bitcoin", bitcoin, CoinFates(), _coin_fetch(bitcoin._rpc), "0014"),  # noqa: SLF001
    )
    database = Database(site.database_url())
    figures = CatchupFigures()
    try:
        for chain in chains:
            await _measure_chain(database, chain, figures)
    finally:
        await database.close()
        await evm.close()
        await bitcoin.close()
    return figures


async def _measure_chain(database: Database, chain: _Chain, figures: CatchupFigures) -> None:
    tip = (await chain.outlet.head()).height
    first, bare, watched = tip - BLOCKS + 1, [], {}
    have = 0
    for wanted in WATCHED:
        await _watch_addresses(database, chain, have, wanted)
        have = wanted
        rates = []
        for _ in range(ROUNDS):
            if wanted == ALONE:
                bare.append(await _rate(lambda: _fetch_all(chain, first, tip)))
            await _rewind(database, chain, first - 1)
            rates.append(await _rate(lambda: _catch_up(database, chain)))
        watched[wanted] = statistics.median(rates)
    figures.bare_per_s[chain.name] = statistics.median(bare)
    figures.watched_per_s[chain.name] = watched


async def _rate(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return BLOCKS / (time.perf_counter() - began)


async def _fetch_all(chain: _Chain, first: int, last: int) -> None:
    for start in range(first, last + 1, RUN_BLOCKS):
        await chain.fetch(start, min(last, start + RUN_BLOCKS - 1))


async def _catch_up(database: Database, chain: _Chain) -> None:
    watch = PostgresChainWatch(database, chain.outlet, chain.fates, SystemClock())
    while (await watch.watch_once()).is_behind:
        pass


async def _rewind(database: Database, chain: _Chain, height: int) -> None:
    """Put the cursor back on the block at this height."""
    block = await chain.outlet.block(height)
    assert block is not None
    chain_id = chain.outlet.chain_id
    async with database.transaction() as session:
        await session.execute(
            text("DELETE FROM chain_block WHERE chain_id = :chain"), {"chain": chain_id}
        )
        session.add(
            ChainBlock(
                chain_id=chain_id,
                height=block.height,
                hash=block.hash,
                parent_hash=block.parent_hash,
            )
        )


async def _watch_addresses(database: Database, chain: _Chain, have: int, wanted: int) -> None:
    async with database.transaction() as session:
        await session.execute(
            text(_INSERT),
            {
                "chain": chain.outlet.chain_id,
                "prefix": chain.prefix,
                "first": have + 1,
                "last": wanted,
            },
        )
    async with database.statement() as connection:
        await connection.exec_driver_sql("VACUUM ANALYZE chain_address")


def _evm_fetch(rpc: Rpc) -> Callable[[int, int], Awaitable[Any]]:
    async def fetch(first: int, last: int) -> None:
        heights = [hex(height) for height in range(first, last + 1)]
        await rpc.batch([("eth_getBlockByNumber", [height, True]) for height in heights])
        await rpc.batch([("eth_getBlockReceipts", [height]) for height in heights])

    return fetch


def _coin_fetch(rpc: Rpc) -> Callable[[int, int], Awaitable[Any]]:
    async def fetch(first: int, last: int) -> None:
        hashes = await rpc.batch([("getblockhash", [h]) for h in range(first, last + 1)])
        await rpc.batch([("getblock", [block_hash, 0]) for block_hash in hashes])

    return fetch
