"""What an observer of the chain sees of the demo's mixes: parts of several in one transaction."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from devnet.demo_mixing import Mixed, MixTour
from domain.jobcoin.chain import ASSET as JOB
from domain.jobcoin.chain import DECIMALS as JOB_DECIMALS
from domain.money import format_units

COLORS = ("cyan", "magenta")
SHOWN = (9, 4)
"""So much of the beginning and of the end of a long name."""


type Part = tuple[Mixed, dict[str, Any]]
"""A mix, and one of its parts as the API tells of it."""


def print_parts(tour: MixTour, out: Console) -> None:
    """Show the parts that share each transaction, and the kills at their moments."""
    table = Table(title=f"What left the mixers, in {JOB}, by transaction")
    for heading in ("transaction", "due", "amount", "to an address of", "mixer"):
        table.add_column(heading, justify="right" if heading == "amount" else "left")
    transactions = _by_transaction(tour)
    kills = sorted(tour.kills)
    for txid, parts in transactions:
        while kills and kills[0][0] < _due(parts[0]):
            at, name = kills.pop(0)
            table.add_row("", f"{at:%H:%M:%S}", "", f"[red]SIGKILL to {name}[/]", end_section=True)
        shown = (_short(txid), "[green]shared[/]" if _is_shared(parts) else "")
        for place, part in enumerate(parts):
            first = shown[place] if place < len(shown) else ""
            is_last = place == len(parts) - 1
            table.add_row(first, *_cells(tour, part), end_section=is_last)
    out.print(table)
    shared = sum(_is_shared(parts) for _, parts in transactions)
    out.print(
        f"{sum(len(parts) for _, parts in transactions)} parts of {len(tour.mixes)} mixes left in"
        f" {len(transactions)} transactions; [green]shared by both users: {shared}.[/]",
        highlight=False,
    )


def colored(tour: MixTour, mixed: Mixed) -> str:
    """Return the mix's user in a color of their own."""
    color = COLORS[list(tour.users).index(mixed.mix.user) % len(COLORS)]
    return f"[{color}]{mixed.mix.user.name}[/]"


def whole(minor: int) -> str:
    """Return an amount in whole coins."""
    return format_units(minor, decimals=JOB_DECIMALS)


def _by_transaction(tour: MixTour) -> list[tuple[str, list[Part]]]:
    """Return the parts by the transaction that paid them, both in the order of time."""
    found = defaultdict(list)
    for mixed in tour.mixes:
        for dole in mixed.answer["doles"]:
            found[dole["txid"] or "in no transaction"].append((mixed, dole))
    return sorted(
        ((txid, sorted(parts, key=_due)) for txid, parts in found.items()),
        key=lambda each: _due(each[1][0]),
    )


def _is_shared(parts: Sequence[Part]) -> bool:
    return len({mixed.mix.user.user_id for mixed, _ in parts}) > 1


def _cells(tour: MixTour, part: Part) -> tuple[str, ...]:
    mixed, dole = part
    place = f"{colored(tour, mixed)} {_short(dole['address'])}"
    return f"{_due(part):%H:%M:%S}", whole(int(dole["amount"])), place, mixed.mixer_name


def _due(part: Part) -> datetime:
    return datetime.fromisoformat(part[1]["due_at"])


def _short(text: str) -> str:
    first, last = SHOWN
    return f"{text[:first]}…{text[-last:]}"
