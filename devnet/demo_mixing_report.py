"""What the demo shows of its mixes at last: every part, every sum, every mixer's house."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from devnet.bulk import arrived_minor
from devnet.demo_mixing import MixTour
from devnet.demo_mixing_parts import colored, print_parts, whole
from devnet.houses import Books
from devnet.mixing import faults_of
from domain.jobcoin.chain import ASSET as JOB


async def print_mixes(tour: MixTour, out: Console) -> bool:
    """Print it, and tell whether every mix paid to the unit and every mixer's books held."""
    print_parts(tour, out)
    faults = await _print_sums(tour, out)
    faults += _print_houses(tour, out)
    for fault in faults:
        out.print(fault, style="red", markup=False, soft_wrap=True)
    return not faults


async def _print_sums(tour: MixTour, out: Console) -> list[str]:
    """Show that deposit less fee is what left, and what the node says is there."""
    table = Table(title=f"Every mix to the unit, in {JOB}")
    for heading in (
        "mix of",
        "mixer",
        "paid in",
        "fee",
        "parts",
        "sum",
        "their addresses have",
        "",
    ):
        table.add_column(heading, justify="left" if heading in ("mix of", "mixer", "") else "right")
    found = []
    for each in tour.mixes:
        faults = await faults_of(tour.site, each.mix, each.answer, paid_minor=each.paid_minor)
        on_chain = await arrived_minor(tour.site, each.mix.asset, each.mix.addresses)
        table.add_row(
            colored(tour, each),
            each.mixer_name,
            whole(each.paid_minor),
            whole(int(each.answer["fee"])),
            str(len(each.answer["doles"])),
            whole(sum(int(dole["amount"]) for dole in each.answer["doles"])),
            whole(sum(on_chain.values())),
            _verdict(not faults),
        )
        found += [f"{each.mix.id}: {fault}" for fault in faults]
    out.print(table)
    return found


def _print_houses(tour: MixTour, out: Console) -> list[str]:
    """Show each mixer's books where most was owed, and at the end."""
    assert tour.watch is not None
    table = Table(title=f"The house of each mixer, in {JOB}")
    table.add_column("mixer")
    table.add_column("books read", justify="right")
    table.add_column("while pending: house = fees + owed")
    table.add_column("nothing pending: house = fees")
    table.add_column()
    earned, names = Counter[str](), {}
    for each in tour.mixes:
        earned[each.mix.mixer_id] += int(each.answer["fee"])
        names[each.mix.mixer_id] = each.mixer_name
    faults = tour.watch.faults
    for mixer_id, readings in tour.watch.readings.items():
        last, is_earned = readings[-1], readings[-1].fees_minor == earned[mixer_id]
        if not is_earned:
            faults.append(f"{mixer_id} earned {last.fees_minor}; its mixes paid {earned[mixer_id]}")
        is_right = is_earned and last.is_at_rest and all(b.is_balanced for b in readings)
        table.add_row(
            names[mixer_id], f"{len(readings)} times", *_equations(readings), _verdict(is_right)
        )
    out.print(table)
    return faults


def _equations(readings: Sequence[Books]) -> tuple[str, str]:
    most, last = max(readings, key=lambda books: books.owed_minor), readings[-1]
    house, fees, owed = (whole(n) for n in (most.house_minor, most.fees_minor, most.owed_minor))
    return f"{house} = {fees} + {owed}", f"{whole(last.house_minor)} = {whole(last.fees_minor)}"


def _verdict(is_right: bool) -> str:  # noqa: FBT001
    return "[green]ok[/]" if is_right else "[red]WRONG[/]"
