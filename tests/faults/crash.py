"""
``make crash``: kill processes at every step and at random, then compare books and chain.

Exit 0 only if nothing was paid twice, lost or left unbalanced. The figures are printed and written
to ``build/crash.json``; ``--seed`` replays a storm's dice. ``--bulk 10000`` runs the bulk part
alone, with so many lines on each chain, and ``--mixes 1000`` the part of mixes.
"""

import argparse
import json
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from devnet.bootstrap import fill
from devnet.ports import Ports
from devnet.services import Service
from devnet.stack import ALL_SERVICES, Stack
from infra.processes import run_and_exit
from tests.faults.bulk import bulk
from tests.faults.findings import Findings
from tests.faults.mixing import mixing, prepared
from tests.faults.scenarios import run_scenarios
from tests.faults.storm import WORKERS, storm
from tests.faults.units import Load

PARTS = ("all", "scenarios", "storm", "bulk", "mixes")
REPORT = Path("build/crash.json")
LINES = 250
"""Of each run of the bulk part, unless told otherwise."""
MIXES = 60
"""Of the part of mixes, unless told otherwise."""

CONFIRMATIONS_MIN, BUMP_AFTER_S = 5, 4
"""Quick to confirm, and quick to replace what is stuck."""

MIXED_BUMP_AFTER_S = 20
"""Of a thousand sweeps at once most are late, and not stuck."""


def say(line: str) -> None:
    """Show progress at once."""
    print(line, flush=True)


def stack_below(folder: Path, *, workers: Sequence[str | None] = (None,)) -> Stack:
    """Return a stack without mixers."""
    prepare = partial(fill, confirmations_min=CONFIRMATIONS_MIN, bump_after_s=BUMP_AFTER_S)
    return Stack(folder, ports=Ports.free(), workers=workers, block_time_s="1", prepare=prepare)


def mixing_stack_below(folder: Path) -> Stack:
    """Return one with mixers, and without what no mix needs."""
    prepare = partial(
        prepared, confirmations_min=CONFIRMATIONS_MIN, bump_after_s=MIXED_BUMP_AFTER_S
    )
    return Stack(
        folder,
        ports=Ports.free(),
        services=ALL_SERVICES - {Service.STRIPE, Service.RATES},
        block_time_s="1",
        prepare=prepare,
        mixing=True,
    )


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder that another user, whom PostgreSQL runs as below root, may pass through."""
    with tempfile.TemporaryDirectory(prefix="strongroom-crash-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "markers").mkdir()
        yield folder


@dataclass
class Report:
    """What is printed and written; duplicates, lost and unbalanced must be zero."""

    seed: int
    kills: int = 0
    payouts: int = 0
    lines: int = 0
    """Of runs."""
    deposits: int = 0
    purchases: int = 0
    transfers: int = 0
    """To, from and out of pockets."""
    webhooks: int = 0
    """Requests that came to receivers."""
    bulk_seconds: int = 0
    """From the first upload to the last settlement of the bulk part."""
    mixes: int = 0
    doles: int = 0
    """Paid to withdrawal addresses."""
    mixing_seconds: int = 0
    """From the first opening to the last settlement of the part of mixes."""
    invariant_polls: int = 0
    """How often the books of all mixers were compared while processes died."""
    invariant_violations: int = 0
    duplicates: int = 0
    lost: int = 0
    unbalanced: int = 0
    activities_without_crash: list[str] = field(default_factory=list)

    def add(self, findings: Findings, **counts: int) -> None:
        """Add what one part did and found."""
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)
        self.duplicates += findings.duplicates
        self.lost += findings.lost
        self.unbalanced += findings.unbalanced
        for note in findings.notes:
            say(f"WRONG: {note}")

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing is wrong and every crash took place."""
        faults = self.duplicates + self.lost + self.unbalanced
        return not faults and not self.activities_without_crash


async def run(options: argparse.Namespace) -> int:
    """Run the chosen parts; return the exit status."""
    report = Report(seed=options.seed)
    with scratch_folder() as folder:
        if options.part in ("all", "scenarios"):
            await _scenarios(folder, options, report)
        if options.part in ("all", "storm"):
            await _storm(folder, options, report)
        if options.part in ("all", "bulk"):
            await _bulk(folder, options, report)
        if options.part in ("all", "mixes"):
            await _mixing(folder, options, report)
    write(report)
    return 0 if report.is_clean else 1


async def _scenarios(folder: Path, options: argparse.Namespace, report: Report) -> None:
    say("a crash after each activity's side effect, before its answer")
    async with stack_below(folder / "scenarios") as stack:
        units, kills, unharmed = await run_scenarios(
            stack, folder / "markers", only=options.only, say=say
        )
        report.activities_without_crash = unharmed
        report.add(await units.findings(), kills=kills, **units.counts)
        await units.close()


async def _storm(folder: Path, options: argparse.Namespace, report: Report) -> None:
    async with stack_below(folder / "storm", workers=WORKERS) as stack:
        load = Load(options.payouts, options.purchases, options.transfers)
        result = await storm(stack, load, kills=options.kills, seed=options.seed, say=say)
        report.add(result.findings, kills=result.kills, **result.counts)


async def _bulk(folder: Path, options: argparse.Namespace, report: Report) -> None:
    async with stack_below(folder / "bulk") as stack:
        result = await bulk(stack, lines=options.bulk or LINES, seed=options.seed, say=say)
        report.bulk_seconds = round(result.seconds)
        report.add(result.findings, kills=result.kills, lines=result.lines)


async def _mixing(folder: Path, options: argparse.Namespace, report: Report) -> None:
    async with mixing_stack_below(folder / "mixing") as stack:
        result = await mixing(stack, mixes=options.mixes or MIXES, seed=options.seed, say=say)
        report.mixing_seconds = round(result.seconds)
        report.invariant_polls = result.polls
        report.invariant_violations = result.violations
        report.add(result.findings, kills=result.kills, mixes=result.mixes, doles=result.doles)


def write(report: Report) -> None:
    """Write the report for programs and print it for people."""
    content = json.dumps(asdict(report), indent=2)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(content + "\n")
    say(content)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, default="all")
    parser.add_argument(
        "--bulk", type=int, metavar="LINES", help="only runs, of so many lines on each chain"
    )
    parser.add_argument("--mixes", type=int, help="only mixes, so many")
    parser.add_argument("--only", help="activities, comma between: their scenarios alone")
    parser.add_argument("--payouts", type=int, default=200)
    parser.add_argument("--purchases", type=int, default=60)
    parser.add_argument("--transfers", type=int, default=24, help="of pockets")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    options = parser.parse_args()
    if options.bulk is not None:
        options.part = "bulk"
    if options.mixes is not None:
        options.part = "mixes"
    run_and_exit(partial(run, options))


if __name__ == "__main__":
    main()
