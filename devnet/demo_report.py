"""The end of the demo: chain, books and statement of each payout side by side."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table
from sqlmodel import col, select

from devnet.bootstrap import ETHER_DECIMALS
from devnet.people import ScriptedUser, insist
from devnet.reconcile import Reconciliation, on_chain_minor, reconcile
from devnet.site import Site
from domain.money import format_units
from domain.payouts import PayoutStatus
from infra.database import Database
from ledger import chart
from ledger.queries import statement
from models.chain_transactions import ChainTransaction, ChainTransactionStatus
from models.ledger import LedgerTransaction
from models.payouts import Payout
from models.wallets import Asset


class Planned(Protocol):
    """What was meant to arrive where."""

    @property
    def asset(self) -> str:
        """Asset code."""
        ...

    @property
    def amount_minor(self) -> int:
        """What must arrive, in minor units."""
        ...

    @property
    def recipient(self) -> str:
        """Who must get it, and nothing else."""
        ...


async def print_report(
    site: Site,
    planned: Sequence[Planned],
    asked: Sequence[str],
    *,
    observer: ScriptedUser,
    out: Console,
) -> bool:
    """Print it, and tell whether every payout arrived exactly once and the books agree."""
    rows = [
        await _row(site, plan, payout_id, observer)
        for plan, payout_id in zip(planned, asked, strict=True)
    ]
    table = Table(title="Every payout exactly once")
    for heading in ("payout", "asked", "recipient has", "status", "chain txs", "ledger steps", ""):
        table.add_column(heading)
    for row in rows:
        table.add_row(*row["cells"], "[green]ok[/green]" if row["is_right"] else "[red]WRONG[/red]")
    out.print(table)
    out.print("Their histories in the Temporal UI (while the stack is up):")
    for row in rows:
        out.print(f"  {row['url']}", highlight=False, soft_wrap=True)
    await _print_statement(observer, asked[0], site, out)
    books = await reconcile(site)
    _print_books(books, out)
    is_right = books.is_right and all(row["is_right"] for row in rows)
    verdict = "[green]Everything agrees.[/green]" if is_right else "[red]Something is wrong.[/red]"
    out.print(verdict)
    return is_right


async def _row(site: Site, plan: Planned, payout_id: str, observer: ScriptedUser) -> dict[str, Any]:
    detail = await asyncio.to_thread(insist, lambda: observer.api.get(f"/v1/payouts/{payout_id}"))
    asset, mined, steps = await _facts(site, payout_id)
    arrived = await on_chain_minor(site, asset, [plan.recipient])
    decimals = asset.decimals
    cells = (
        payout_id,
        f"{format_units(plan.amount_minor, decimals=decimals)} {plan.asset}",
        f"{format_units(arrived, decimals=decimals)} {plan.asset}",
        detail["status"],
        str(mined),
        ", ".join(steps),
    )
    is_right = (
        arrived == plan.amount_minor
        and detail["status"] == PayoutStatus.SETTLED
        and mined == 1
        and steps == ["freeze", "dispatch", "settle"]
    )
    return {"cells": cells, "is_right": is_right, "url": detail["workflow_url"]}


async def _facts(site: Site, payout_id: str) -> tuple[Asset, int, list[str]]:
    """Return the asset, how many chain transactions there are, and the postings."""
    database = Database(site.database_url())
    async with database.snapshot() as session:
        payout = await session.get_one(Payout, payout_id)
        asset = await session.get_one(Asset, payout.asset)
        mined = await session.exec(
            select(ChainTransaction.id).where(
                ChainTransaction.id == payout.chain_transaction_id,
                ChainTransaction.status == ChainTransactionStatus.CONFIRMED,
            )
        )
        steps = await session.exec(
            select(LedgerTransaction.key)
            .where(LedgerTransaction.resource == payout_id)
            .order_by(col(LedgerTransaction.id))
        )
        found = asset, len(mined.all()), [k.rsplit(":", 1)[1] for k in steps]
    await database.close()
    return found


async def _print_statement(
    observer: ScriptedUser, payout_id: str, site: Site, out: Console
) -> None:
    """Print what the first payout's user reads in their own statement."""
    payout = insist(lambda: observer.api.get(f"/v1/payouts/{payout_id}"))
    database = Database(site.database_url())
    async with database.snapshot() as session:
        lines = await statement(
            session,
            code=chart.available(payout["user_id"]),
            asset=payout["asset"],
            before=None,
            limit=5,
        )
    await database.close()
    table = Table(title=f"Statement of the first user: {payout['asset']}, newest first")
    for heading in ("entry", "amount", "balance after", "about"):
        table.add_column(heading, overflow="fold")
    for line in lines:
        amounts = (
            f"{'-' if minor < 0 else ''}{format_units(abs(minor), decimals=ETHER_DECIMALS)}"
            for minor in (line.amount_minor, line.balance_after_minor)
        )
        table.add_row(line.rule, *amounts, line.resource or "")
    out.print(table)


def _print_books(books: Reconciliation, out: Console) -> None:
    table = Table(title="Books and chain, in minor units")
    for heading in ("asset", "omnibus account", "hot wallet on chain", "sum", "in flight", ""):
        table.add_column(heading)
    for check in books.assets:
        table.add_row(
            check.asset,
            str(check.booked_minor),
            str(check.on_chain_minor),
            str(check.sum_minor),
            str(check.inflight_minor),
            "[green]equal[/green]" if check.is_right else "[red]DIFFERENT[/red]",
        )
    out.print(table)
    verdict = books.verification
    out.print(f"Hash chain: {verdict.broken or f'{verdict.links} links verify'}.", highlight=False)
