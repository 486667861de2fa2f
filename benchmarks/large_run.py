"""
Memory of a run of 100,000 lines beside one of 1,000: of the API's process and the worker's.

Both are uploaded over HTTP, started, approved, followed and reported. Of the large one no more than
``PAID`` lines are paid, two full batches; the others are taken back, since paying them all would
take minutes and no more memory: a batch is never larger.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devnet.bootstrap import ETHER, ETHER_UNIT
from devnet.bulk import Counts, asset_of, csv_of, finished, payments, run_paid, until
from devnet.funding import fund
from devnet.people import ScriptedUser, enlist
from devnet.site import Site
from devnet.stack import Stack
from domain.payouts import PayoutStatus
from domain.runs import RunStatus
from models.identity import Role

SMALL_LINES = 1_000
PAID = 4_000
PATIENCE_S = 600.0
PROCESSES = ("api", "worker")
LEAST_MINOR = ETHER_UNIT // 10**5
KIB_PER_MIB = 1_024


@dataclass
class LargeRunFigures:
    """Peaks of resident memory; the steps' times belong to this machine and this hour."""

    lines: int
    small_mib: Mapping[str, float] = field(default_factory=dict)
    large_mib: Mapping[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def rss_vs_small(self) -> float:
        """The worst of the processes."""
        return max(self.large_mib[name] / peak for name, peak in self.small_mib.items())

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Keep how long a step takes."""
        began = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - began


async def measure(stack: Stack, *, lines: int) -> LargeRunFigures:
    """Pay the small run, then the large one, in the same processes."""
    site = stack.site
    figures = LargeRunFigures(lines)
    payer = await enlist(site, "large-payer")
    approvers = [await enlist(site, f"large-approver{n}", [Role.APPROVER]) for n in range(2)]
    shares = {payer.user_id: 30 * ETHER_UNIT, None: ETHER_UNIT}
    await fund(site, asset_code=ETHER, shares=shares)
    asset = await asset_of(site, ETHER)
    paid = payments(asset, lines, name="large", least_minor=LEAST_MINOR)
    small, large = csv_of(asset, paid[:SMALL_LINES]), csv_of(asset, paid)
    run_id = await run_paid(payer, approvers, content=small, name="small")
    await finished(site, run_id, patience_s=PATIENCE_S)
    await asyncio.to_thread(_read_report, payer, run_id)
    figures.small_mib = _peaks_mib(stack)
    await _pay_some(site, figures, [payer, *approvers], large)
    figures.large_mib = _peaks_mib(stack)
    return figures


async def _pay_some(
    site: Site, figures: LargeRunFigures, people: Sequence[ScriptedUser], content: bytes
) -> None:
    payer, *approvers = people
    with figures.timed("upload"):
        run_id = await asyncio.to_thread(payer.upload_run, content, name="large")
    with figures.timed("start"):
        standing = await asyncio.to_thread(payer.start_run, run_id, idempotency_key="large")
    with figures.timed("approvals"):
        for approver in approvers:
            if standing == RunStatus.AWAITING_APPROVAL:
                standing = await asyncio.to_thread(approver.approve_run, run_id)
    with figures.timed("some settled"):
        await until(site, run_id, _are_some_settled, patience_s=PATIENCE_S)
    with figures.timed("cancellation"):
        await asyncio.to_thread(payer.cancel_run, run_id)
    with figures.timed("rest settled"):
        await finished(site, run_id, patience_s=PATIENCE_S)
    with figures.timed("report"):
        await asyncio.to_thread(_read_report, payer, run_id)


def _are_some_settled(status: RunStatus, counts: Counts) -> bool:
    return status == RunStatus.FINISHED or counts.get(PayoutStatus.SETTLED, 0) >= PAID


def _read_report(payer: ScriptedUser, run_id: str) -> int:
    return sum(len(piece) for piece in payer.api.download(f"/v1/payout-runs/{run_id}/report"))


def _peaks_mib(stack: Stack) -> dict[str, float]:
    """Return the most memory that each process ever had (``VmHWM`` in proc(5)), since its start."""
    return {name: _peak_mib(stack.process(name).pid or 0) for name in PROCESSES}


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / KIB_PER_MIB
