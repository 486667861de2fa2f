"""
``make bench``: every figure that the README quotes, as ratios within one run.

Rates per second are printed for orientation; they belong to this machine and this hour. The ratios
go to ``build/bench.json``, and of the rates ``mixes_per_second`` alone.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import (
    bulk,
    catchup,
    coins,
    disperse,
    large_run,
    ledger,
    mixing,
    mixing_rate,
    payouts,
    transfers,
)
from devnet.bootstrap import fill
from devnet.ports import Ports
from devnet.services import Service
from devnet.stack import ALL_SERVICES, Stack
from domain.runs import LINES_MAX
from infra.processes import run_and_exit

REPORT = Path("build/bench.json")
AIMS = {
    "payout_vs_empty_workflow": (0.7, "at least"),
    "ledger_vs_bare_sql": (0.8, "at least"),
    "ledger_bulk_vs_single": (10.0, "at least"),
    "payout_history_events": (20, "at most"),
    "catchup_vs_bare_rpc": (0.5, "at least"),
    "scan_1m_vs_1_address": (0.8, "at least"),
    "vbytes_vs_theory_100": (1.05, "at most"),
    "vbytes_vs_theory_1000": (1.05, "at most"),
    "waste_vs_library": (1.0, "at most"),
    "fees_vs_library": (1.0, "at most"),
    "gas_vs_floor": (1.15, "at most"),
    "run_vs_single": (20.0, "at least"),
    "actions_per_line": (0.1, "at most"),
    "vbytes_per_line_vs_theory": (1.05, "at most"),
    "rss_100k_vs_1k": (1.25, "at most"),
    "mixer_linking_vs_naive": (0.25, "at most"),
}


async def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit status."""
    out = Console()
    ratios: dict[str, float] = {}
    if options.part in ("all", "coins"):
        selected = coins.measure()
        out.print(selected)
        ratios |= asdict(selected)
    if options.part in ("all", "mixing"):
        watched = mixing.measure()
        out.print(watched)
        ratios["mixer_linking_vs_naive"] = watched.mixer_linking_vs_naive
        ratios["mixer_events_per_doleout"] = watched.mixer_events_per_doleout
        ratios |= await _mixing_rate(out, mixes=options.mixes)
    if options.part in ("all", "catchup"):
        ratios |= await _catchup(out, blocks=options.blocks)
    if options.part in ("all", "disperse", "bulk"):
        ratios |= await _disperse(out)
    if options.part in ("all", "bulk"):
        ratios |= await _bulk(out, lines=options.lines)
    if options.part in ("all", "ledger", "payouts", "transfers"):
        ratios |= await _on_a_stack(options, out)
    _report(ratios, out)
    return 0


async def _mixing_rate(out: Console, *, mixes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name:
        stack = Stack(
            Path(name) / "stack",
            ports=Ports.free(),
            # What is asked for goes to Temporal, and what is paid to Jobcoin.
            services=ALL_SERVICES - {Service.API, Service.BITCOIN, Service.STRIPE, Service.RATES},
            prepare=fill,
            mixing=True,
        )
        async with stack:
            mixed = await mixing_rate.measure(stack.site, mixes=mixes)
    out.print(mixed)
    return {
        "mixes_per_second": mixed.mixes_per_s,
        "mixer_doleouts_vs_payouts": mixed.doleouts_vs_payouts,
    }


async def _catchup(out: Console, *, blocks: int) -> dict[str, float]:
    """Measure on a stack of nodes and database alone, where nobody else watches."""
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name:
        stack = Stack(
            Path(name) / "stack",
            ports=Ports.free(),
            services={Service.POSTGRES, Service.MIGRATIONS, Service.EVM, Service.BITCOIN},
            prepare=fill,
        )
        async with stack:
            watched = await catchup.measure(stack.site, blocks=blocks)
    out.print(watched)
    worst: dict[str, float] = {}
    for name in ("catchup_vs_bare_rpc", "scan_1m_vs_1_address"):
        by_chain: dict[str, float] = getattr(watched, name)
        out.print(f"{name}: " + ", ".join(f"{c} {ratio:.2f}" for c, ratio in by_chain.items()))
        worst[name] = min(by_chain.values())
    return worst


async def _disperse(out: Console) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name:
        stack = Stack(Path(name) / "stack", ports=Ports.free(), services={Service.EVM})
        async with stack:
            paid = await disperse.measure(stack.site)
    out.print(paid)
    return {
        "gas_vs_floor": paid.gas_vs_floor,
        "gas_vs_plain_known": paid.gas_vs_plain_known,
        "gas_vs_plain_new": paid.gas_vs_plain_new,
        "token_gas_vs_alone": paid.token_gas_vs_alone,
    }


async def _bulk(out: Console, *, lines: int) -> dict[str, float]:
    """Measure on a stack with everything, whose processes have done nothing else before."""
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name:
        stack = Stack(Path(name) / "stack", ports=Ports.free(), block_time_s="1", prepare=fill)
        async with stack:
            large = await large_run.measure(stack, lines=lines)
            out.print(large)
            paid = await bulk.measure(stack.site)
    out.print(paid)
    ratios = {
        "run_vs_single": paid.run_vs_single,
        "actions_per_line": paid.actions_per_line,
        "vbytes_per_line_vs_theory": paid.vbytes_per_line_vs_theory,
    }
    # With another count the figure would bear a false name.
    return ratios | ({"rss_100k_vs_1k": large.rss_vs_small} if lines == LINES_MAX else {})


async def _on_a_stack(options: argparse.Namespace, out: Console) -> dict[str, float]:
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name:
        stack = Stack(
            Path(name) / "stack",
            ports=Ports.free(),
            # Neither is measured, and a block each second is work.
            services=ALL_SERVICES - {Service.API, Service.JOBCOIN},
            workers=(None,) * options.workers,
            block_time_s="1",
            prepare=fill,
        )
        async with stack:
            if options.part in ("all", "ledger"):
                books = await ledger.measure(stack.site, count=options.transfers)
                out.print(books)
                ratios["ledger_vs_bare_sql"] = books.ledger_vs_bare_sql
                ratios["ledger_bulk_vs_single"] = books.ledger_bulk_vs_single
            if options.part in ("all", "transfers"):
                sent = await transfers.measure(stack.site, count=options.transfers)
                out.print(sent)
                ratios["transfer_vs_bare_sql"] = sent.transfer_vs_bare_sql
            if options.part in ("all", "payouts"):
                paid = await payouts.measure(stack, count=options.payouts)
                out.print(paid)
                ratios["payout_vs_empty_workflow"] = paid.payout_vs_empty_workflow
                ratios["payout_vs_same_messages"] = paid.payout_vs_same_messages
                ratios["payout_history_events"] = paid.history_events
                ratios["payout_workflow_tasks"] = paid.workflow_tasks
    return ratios


def _report(ratios: dict[str, float], out: Console) -> None:
    table = Table(title="ratios within this run")
    for heading in ("figure", "measured", "aim", ""):
        table.add_column(heading)
    for name, value in ratios.items():
        aim, side = AIMS.get(name, (None, ""))
        if aim is None:
            table.add_row(name, f"{value:.2f}", "", "")
            continue
        is_met = value >= aim if side == "at least" else value <= aim
        table.add_row(name, f"{value:.2f}", f"{side} {aim}", "met" if is_met else "MISSED")
    out.print(table)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(ratios, indent=2) + "\n")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--part",
        choices=(
            "all",
            "ledger",
            "transfers",
            "payouts",
            "coins",
            "catchup",
            "disperse",
            "bulk",
            "mixing",
        ),
        default="all",
    )
    parser.add_argument("--payouts", type=int, default=900, help="per round")
    parser.add_argument("--transfers", type=int, default=1_000, help="per round")
    parser.add_argument("--blocks", type=int, default=512, help="to catch up with, per chain")
    parser.add_argument("--lines", type=int, default=LINES_MAX, help="of the large run")
    parser.add_argument("--mixes", type=int, default=mixing_rate.MIXES, help="at once")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    run_and_exit(partial(run, parser.parse_args()))


if __name__ == "__main__":
    main()
