"""
Bulk payouts on a whole stack: how much faster and cheaper than one by one.

Rates belong to this machine and this run; both sides of ``run_vs_single`` meet the same blocks, one
each second. Confirmations take seconds whoever waits for them, so of either kind as many are on
their way at once as it takes to keep the stack busy: ``RUNS`` runs, or 400 single payouts.

Single payouts are asked for by the update that the API sends, not over HTTP: each would need a
one-time code of its own, which a person has twice a minute. That is in their favor.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlmodel import col, select
from temporalio.client import Client

from api.payout_workflows import PayoutWorkflows
from benchmarks import payouts
from benchmarks.actions import actions_of
from devnet.bootstrap import BTC, BTC_UNIT, CHAIN, ETHER, ETHER_UNIT
from devnet.bulk import Payment, asset_of, csv_of, findings_of, finished, payments, run_paid
from devnet.funding import fund
from devnet.people import ScriptedUser, enlist
from devnet.rich_miner import RichMiner
from devnet.site import NAMESPACE, Site
from domain.payouts import PayoutStatus
from domain.utxo.networks import BITCOIN_REGTEST
from domain.utxo.scripts import output_script
from domain.utxo.sizes import transaction_vbytes
from domain.workflow_ids import (
    batcher_workflow_id,
    chain_transaction_workflow_id,
    payout_run_workflow_id,
)
from infra import temporal
from infra.database import Database
from models.chain_transactions import ChainTransaction
from models.payouts import Payout
from models.runs import PayoutRun
from models.wallets import Asset, BlockchainWallet

LINES = 1_000
RUNS = 10
SINGLES = 400
ENLISTED_AT_ONCE = 4
BITCOIN_COINS = 5
PATIENCE_S = 300.0
LEAST_MINOR: Mapping[str, int] = {ETHER: ETHER_UNIT // 10**5, BTC: 10_000}
"""So little that no run of 1,000 lines needs an approval."""


@dataclass(frozen=True, slots=True)
class BulkFigures:
    """What was measured; rates per second are of this machine and this run only."""

    singles_per_s: float
    lines_per_s: float
    """Of ``RUNS`` runs at once, from the first byte of an upload to the last settlement."""
    lone_lines_per_s: float
    """Of one run alone, which mostly waits for blocks."""
    actions_per_line: float
    """Of that one: its own workflow, the batcher's meanwhile, and its chain transactions'."""
    vbytes_per_line_vs_theory: float
    """
    Virtual bytes of a run's Bitcoin transactions against the least that any could have: the same
    outputs in one transaction of one input and without change, as in ``benchmarks.coins``.
    """

    @property
    def run_vs_single(self) -> float:
        """Lines per second beside single payouts per second."""
        return self.lines_per_s / self.singles_per_s


async def measure(site: Site) -> BulkFigures:
    """Enlist people with money, and let them pay."""
    bench = await _opened(site)
    lone_run_id, lone_lines_per_s = await bench.lone()
    actions = await bench.actions(lone_run_id)
    vbytes_vs_theory = await bench.vbytes_vs_theory()
    singles_per_s = await bench.singles_per_s()
    return BulkFigures(
        singles_per_s=singles_per_s,
        lines_per_s=await bench.lines_per_s(),
        lone_lines_per_s=lone_lines_per_s,
        actions_per_line=actions / LINES,
        vbytes_per_line_vs_theory=vbytes_vs_theory,
    )


async def _opened(site: Site) -> "_Bench":
    gate = asyncio.Semaphore(ENLISTED_AT_ONCE)

    async def one(name: str) -> ScriptedUser:
        async with gate:
            return await enlist(site, name)

    payers = await asyncio.gather(*(one(f"payer{n}") for n in range(RUNS)))
    ether: dict[str | None, int] = {payer.user_id: ETHER_UNIT for payer in payers}
    await fund(site, asset_code=ETHER, shares={**ether, None: 20 * ETHER_UNIT})
    coin = {payers[0].user_id: BTC_UNIT // 2, None: BTC_UNIT // 10}
    for _ in range(BITCOIN_COINS):
        await fund(site, asset_code=BTC, shares=coin)
    client = await temporal.connect(
        address=site.temporal_address, namespace=NAMESPACE, codec_keys=site.secrets.codec_keys
    )
    assets = {code: await asset_of(site, code) for code in LEAST_MINOR}
    return _Bench(site, client, payers, assets, Database(site.database_url()))


@dataclass(frozen=True, slots=True)
class _Bench:
    """A stack, and people on it who have money."""

    site: Site
    client: Client
    payers: Sequence[ScriptedUser]
    assets: Mapping[str, Asset]
    database: Database

    async def lone(self) -> tuple[str, float]:
        """Pay one run; return it and its rate."""
        began = time.perf_counter()
        run_id, paid = await self._pay(ETHER, self.payers[0], "lone")
        rate = LINES / (time.perf_counter() - began)
        await self._check(ETHER, paid)
        return run_id, rate

    async def lines_per_s(self) -> float:
        """Return the rate at which lines settle when everybody pays a run."""
        began = time.perf_counter()
        done = await asyncio.gather(
            *(self._pay(ETHER, payer, f"crowd-{payer.name}") for payer in self.payers)
        )
        rate = len(done) * LINES / (time.perf_counter() - began)
        for _, paid in done:
            await self._check(ETHER, paid)
        return rate

    async def singles_per_s(self) -> float:
        """Return the rate at which single payouts settle."""
        workflows = PayoutWorkflows(self.client, timeout=payouts.ACCEPT_TIMEOUT)
        pay = partial(payouts.pay_one, self.client, workflows, self.payers[0].user_id)
        return await payouts.rate(pay, SINGLES, payouts.IN_FLIGHT)

    async def actions(self, run_id: str) -> int:
        """Return what a run cost of the engine."""
        async with self.database.transaction() as session:
            run = await session.get_one(PayoutRun, run_id)
            batches = await session.exec(
                select(ChainTransaction.batch_id)
                .join(Payout, col(Payout.chain_transaction_id) == col(ChainTransaction.id))
                .where(Payout.run_id == run_id)
                .distinct()
            )
            batch_ids = batches.all()
            wallets = await session.exec(
                select(BlockchainWallet.address).where(
                    BlockchainWallet.chain_id == CHAIN, BlockchainWallet.primary
                )
            )
            batcher_id = batcher_workflow_id(CHAIN, wallets.one())
        found = await actions_of(self.client, payout_run_workflow_id(run_id))
        found += await actions_of(self.client, batcher_id, since=run.started_at)
        for batch_id in batch_ids:
            found += await actions_of(self.client, chain_transaction_workflow_id(batch_id))
        return found

    async def vbytes_vs_theory(self) -> float:
        """Return what the Bitcoin transactions of a run weigh beside the least they could."""
        run_id, paid = await self._pay(BTC, self.payers[0], "bitcoin")
        await self._check(BTC, paid)
        async with self.database.transaction() as session:
            found = await session.exec(
                select(ChainTransaction.txid, ChainTransaction.block_hash)
                .join(Payout, col(Payout.chain_transaction_id) == col(ChainTransaction.id))
                .where(Payout.run_id == run_id)
                .distinct()
            )
            mined = [(str(txid), str(block_hash)) for txid, block_hash in found]
        miner = RichMiner(self.site.bitcoin_url, BITCOIN_REGTEST)
        try:
            actual = sum([await miner.vbytes(txid, block_hash) for txid, block_hash in mined])
        finally:
            await miner.close()
        scripts = [output_script(each.destination, BITCOIN_REGTEST) for each in paid]
        return actual / transaction_vbytes(1, scripts)

    async def _pay(
        self, code: str, payer: ScriptedUser, name: str
    ) -> tuple[str, tuple[Payment, ...]]:
        """Pay a run to its end."""
        asset = self.assets[code]
        paid = payments(asset, LINES, name=name, least_minor=LEAST_MINOR[code])
        run_id = await run_paid(payer, [], content=csv_of(asset, paid), name=name)
        counts = await finished(self.site, run_id, patience_s=PATIENCE_S)
        assert counts == {PayoutStatus.SETTLED: LINES}, counts
        return run_id, paid

    async def _check(self, code: str, paid: Sequence[Payment]) -> None:
        found = await findings_of(self.site, self.assets[code], paid)
        assert found.is_clean, found
