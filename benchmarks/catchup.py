"""
Catching up with a chain: the whole watcher beside the bare fetch of the same blocks.

Both send the same calls through the same client in the same batches. The watcher also parses what
comes, searches every movement for our addresses, and writes, on a real PostgreSQL. Measured on a
real node of each chain family, with blocks that are not empty and up to a million addresses.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import text

from benchmarks.chains import fill_bitcoin, fill_evm
from benchmarks.watched import opened_databases
from chains.evm.outlet import EvmOutlet
from chains.json_rpc import Call, Rpc
from chains.utxo.outlet import CoinOutlet
from devnet.bootstrap import BITCOIN_CHAIN, CHAIN
from devnet.site import Site
from domain.clock import SystemClock
from domain.ports import ChainOutlet
from infra.database import Database
from models.chain_transactions import ChainBlock
from watcher.fates import AccountFates, CoinFates, FateReader
from watcher.watch import RUN_BLOCKS, PostgresChainWatch, next_run_blocks

ROUNDS = 3
ALONE, MANY = 1, 1_000_000
WATCHED = (ALONE, 10_000, MANY)
"""How many addresses are searched for."""

type Rates = defaultdict[str, list[float]]


@dataclass
class CatchupFigures:
    """Blocks per second by chain; rates are of this machine and this run only."""

    bare_per_s: dict[str, float] = field(default_factory=dict)
    """The node's answers, fetched and decoded from JSON; nothing is done with them."""
    read_per_s: dict[str, float] = field(default_factory=dict)
    """Fetched and parsed by the outlet, without a database: what no watcher can exceed."""
    watched_per_s: dict[str, dict[int, float]] = field(default_factory=dict)
    """Caught up by the watcher, by number of addresses."""
    start_s: dict[str, dict[int, float]] = field(default_factory=dict)
    """
    What the same blocks take a process that has just started, in seconds, by number of addresses:
    it reads the ends of all lookup keys first. Once in its life, so in no rate.
    """

    @property
    def catchup_vs_bare_rpc(self) -> dict[str, float]:
        """The watcher beside the bare fetch, by chain."""
        return {c: self.watched_per_s[c][ALONE] / bare for c, bare in self.bare_per_s.items()}

    @property
    def scan_1m_vs_1_address(self) -> dict[str, float]:
        """What a million addresses leave of the speed with one, by chain."""
        return {c: rates[MANY] / rates[ALONE] for c, rates in self.watched_per_s.items()}


@dataclass(frozen=True, slots=True)
class _Chain:
    """One chain under measurement."""

    name: str
    outlet: ChainOutlet
    fates: FateReader
    rpc: Rpc


async def measure(site: Site, *, blocks: int) -> CatchupFigures:
    """Fill both chains with blocks, then alternate rounds; return the medians."""
    await fill_evm(site, blocks=blocks)
    await fill_bitcoin(site, blocks=blocks)
    evm = EvmOutlet(CHAIN, site.rpc_urls[CHAIN])
    bitcoin = CoinOutlet(BITCOIN_CHAIN, site.rpc_urls[BITCOIN_CHAIN])
    chains = (
        _Chain("evm", evm, AccountFates(evm), evm._rpc),  # noqa: SLF001 - the outlet's very client
        _Chain("bitcoin", bitcoin, CoinFates(), bitcoin._rpc),  # noqa: SLF001
    )
    figures = CatchupFigures()
    try:
        async with opened_databases(site, WATCHED) as databases:
            for chain in chains:
                await _measure_chain(databases, chain, blocks, figures)
    finally:
        await evm.close()
        await bitcoin.close()
    return figures


async def _measure_chain(
    databases: Mapping[int, Database], chain: _Chain, blocks: int, figures: CatchupFigures
) -> None:
    tip = (await chain.outlet.head()).height
    first = tip - blocks + 1
    batches = await _recorded(chain, first, tip)
    watches = {
        wanted: PostgresChainWatch(database, chain.outlet, chain.fates, SystemClock())
        for wanted, database in databases.items()
    }
    figures.start_s[chain.name] = {}
    for wanted, database in databases.items():
        # A process reads the addresses' keys once in its life, when it is first far behind.
        await _rewind(database, chain, first - 1)
        took_s = await _seconds(lambda: _catch_up(watches[wanted]))  # noqa: B023
        figures.start_s[chain.name][wanted] = took_s
    rates: Rates = defaultdict(list)
    for _ in range(ROUNDS):
        # One after the other in each round, so that a noisy neighbor hits all alike.
        rates["bare"].append(blocks / await _seconds(lambda: _fetch(chain.rpc, batches)))
        rates["read"].append(blocks / await _seconds(lambda: _read(chain, first, tip)))
        for wanted, database in databases.items():
            await _rewind(database, chain, first - 1)
            took_s = await _seconds(lambda: _catch_up(watches[wanted]))  # noqa: B023
            rates[str(wanted)].append(blocks / took_s)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    figures.bare_per_s[chain.name] = medians["bare"]
    figures.read_per_s[chain.name] = medians["read"]
    figures.watched_per_s[chain.name] = {wanted: medians[str(wanted)] for wanted in databases}


async def _seconds(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _recorded(chain: _Chain, first: int, last: int) -> list[list[Call]]:
    """Return what the outlet asks the node when it reads these blocks as the watcher has it do."""
    batches: list[list[Call]] = []
    ask = chain.rpc.batch

    async def recording(calls: list[Call]) -> list[object]:
        batches.append(list(calls))
        return await ask(calls)

    chain.rpc.batch = recording  # type: ignore[method-assign, assignment]
    try:
        await _read(chain, first, last)
    finally:
        chain.rpc.batch = ask  # type: ignore[method-assign]
    return batches


async def _fetch(rpc: Rpc, batches: list[list[Call]]) -> None:
    for calls in batches:
        await rpc.batch(calls)


async def _read(chain: _Chain, first: int, last: int) -> None:
    size = RUN_BLOCKS
    while first <= last:
        end = min(last, first + size - 1)
        blocks = await chain.outlet.scan(first, end)
        assert len(blocks) == end - first + 1
        first, size = end + 1, next_run_blocks(blocks)


async def _catch_up(watch: PostgresChainWatch) -> None:
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
