"""What a journey left: the user's monthly statement, read as its CSV, beside what happened."""

import asyncio
import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from devnet.journey import Journey, Place
from devnet.people import ScriptedUser, insist

OFF_CHAIN = "off-chain"
OPENING, CLOSING = "Opening balance", "Closing balance"


@dataclass
class Page:
    """One section of the statement, over all months; minor units."""

    opening_minor: int | None = None
    lines: list[int] = field(default_factory=list)
    by_operation: Counter[str] = field(default_factory=Counter)
    """What the lines of each come to, such as a fee set aside and the part that came back."""
    closing_minor: int = 0
    is_continuous: bool = True
    """Each balance is the one before and the line's amount."""


async def statement_files(user: ScriptedUser, form: str) -> list[bytes]:
    """Return the user's statements of all months, oldest first."""
    months = (await _answer(user, "/v1/statements"))["items"]

    def download(month: str) -> bytes:
        return b"".join(user.api.download(f"/v1/statements/{month}/file", format=form))

    return [await asyncio.to_thread(insist, lambda m=m: download(m)) for m in reversed(months)]


def read_pages(files: Sequence[bytes]) -> dict[Place, Page]:
    """Read statements as CSV, oldest first."""
    pages: dict[Place, Page] = defaultdict(Page)
    for row in (row for file in files for row in csv.DictReader(io.StringIO(file.decode()))):
        place = None if row["place"] == OFF_CHAIN else row["place"].removeprefix("on ")
        _read_row(pages[row["asset"], place], row)
    return dict(pages)


def _read_row(page: Page, row: dict[str, str]) -> None:
    balance_minor = int(row["balance_minor"])
    if row["description"] == OPENING:
        page.is_continuous &= page.opening_minor is None or page.closing_minor == balance_minor
        page.opening_minor = balance_minor if page.opening_minor is None else page.opening_minor
    elif row["description"] == CLOSING:
        page.is_continuous &= page.closing_minor == balance_minor
    else:
        page.lines.append(int(row["amount_minor"]))
        page.by_operation[row["transaction_id"]] += page.lines[-1]
        page.is_continuous &= page.closing_minor + page.lines[-1] == balance_minor
    page.closing_minor = balance_minor


async def differences(journey: Journey) -> list[str]:
    """Return where statement, balances and chain differ from what happened."""
    pages = read_pages(await statement_files(journey.user, "csv"))
    found = [f"There is a section {place} too many." for place in pages.keys() - journey.expected]
    for place, changes in journey.expected.items():
        page = pages.get(place, Page())
        if not page.is_continuous or page.opening_minor != 0:
            found.append(f"{place} does not add up: {page}")
        if sorted(page.by_operation.values()) != sorted(changes):
            found.append(f"{place} says {page.by_operation}, and {changes} happened.")
    for place, balance_minor in (await _balances(journey)).items():
        page = pages.get(place, Page())
        if page.closing_minor != balance_minor:
            found.append(f"{place} closes with {page.closing_minor}; there is {balance_minor}.")
    return found


async def print_statement(journey: Journey, out: Console) -> bool:
    """Print the newest statement and tell whether it is what happened; keep its PDF in a file."""
    month = (await _answer(journey.user, "/v1/statements"))["items"][0]
    statement = await _answer(journey.user, f"/v1/statements/{month}")
    table = Table(title=f"{journey.user.name}'s statement of {month}, in minor units")
    for heading in ("asset", "where", "opening", "in", "out", "closing", "lines"):
        table.add_column(heading, overflow="fold")
    for s in statement["sections"]:
        cells = (s["opening"], s["total_in"], s["total_out"], s["closing"], str(s["lines"]))
        table.add_row(s["asset"], s["chain_id"] or OFF_CHAIN, *cells)
    out.print(table)
    path = journey.site.state_dir / f"statement-{month}.pdf"
    path.write_bytes((await statement_files(journey.user, "pdf"))[-1])
    out.print(f"As a PDF: {path}", highlight=False, soft_wrap=True)
    found = await differences(journey)
    for difference in found:
        out.print(difference, style="red", markup=False)
    return not found


async def _balances(journey: Journey) -> dict[Place, int]:
    """Return what there is: off-chain as the API says, on a chain as its node does."""
    wallet = await _answer(journey.user, "/v1/wallets")
    balances: dict[Place, int] = {(b["asset"], None): int(b["posted"]) for b in wallet["balances"]}
    ours = [place for place in journey.expected if place[1] is not None]
    return balances | {place: await journey.on_pocket_minor() for place in ours}


async def _answer(user: ScriptedUser, path: str) -> dict[str, Any]:
    return dict(await asyncio.to_thread(insist, lambda: user.api.get(path)))
