"""``strongroom ledger``: verify the hash chain, look at the books."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import func
from sqlmodel import select

from cli.context import Context, context_of
from domain.clock import SystemClock
from domain.errors import UnknownAssetError
from domain.ids import new_id
from domain.money import format_units, parse_units
from infra.database import Database
from ledger.queries import asset_sums, customer_balances, system_balances
from ledger.stock import Source, set_aside
from ledger.verify import Verification, verify
from models.ledger import AuditLink
from models.wallets import Asset

app = typer.Typer(help="The books.", no_args_is_help=True)


@app.command("verify")
def verify_books(typer_context: typer.Context) -> None:
    """Check every link of the hash chain and every row it covers; exit 1 if one is broken."""
    context = context_of(typer_context)
    verdict = asyncio.run(_verify(context))
    if verdict.broken:
        context.show(asdict(verdict), f"BROKEN after {verdict.links} good links: {verdict.broken}")
        raise typer.Exit(1)
    context.show(asdict(verdict), f"{verdict.links} links verify; every balance follows.")


@app.command()
def balance(
    typer_context: typer.Context,
    user: Annotated[
        str | None, typer.Option(help="A user's id; without: our own accounts.")
    ] = None,
) -> None:
    """Show balances of our own accounts and the sums per asset, or of one user."""
    context = context_of(typer_context)
    rows, sums = asyncio.run(_balances(context, user))
    if context.is_json:
        context.show({"accounts": rows, "sums": sums})
        return
    table = Table(title="minor units; credits minus debits")
    for heading in ("account", "asset", "balance"):
        table.add_column(heading, justify="right" if heading == "balance" else "left")
    for row in rows:
        table.add_row(row["account"], row["asset"], row["balance"])
    for asset, total in sums.items():
        table.add_row("sum over all accounts", asset, total, style="bold")
    context.out.print(table)


@app.command("stock")
def set_stock_aside(
    typer_context: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset code, such as ETH.")],
    amount: Annotated[str, typer.Argument(help="In whole units, such as 2.5.")],
    source: Annotated[Source, typer.Option("--from", help="Which money of ours.")] = Source.CAPITAL,
    is_back: Annotated[bool, typer.Option("--back", help="Take it back to there.")] = False,
    key: Annotated[str | None, typer.Option(help="Repeat it when you repeat the command.")] = None,
) -> None:
    """Set money of ours aside for users to convert into; never theirs."""
    context = context_of(typer_context)
    stock = asyncio.run(_set_aside(context, asset, amount, source, key, is_back=is_back))
    context.show(stock, f"{stock['stock']} {asset} are set aside.")


async def _set_aside(
    context: Context, asset: str, amount: str, source: Source, key: str | None, *, is_back: bool
) -> dict[str, str]:
    database = Database(context.owner_database_url())
    try:
        async with database.transaction() as session:
            row = await session.get(Asset, asset)
            if row is None:
                msg = f"There is no asset {asset}."
                raise UnknownAssetError(msg)
            amount_minor = parse_units(amount, decimals=row.decimals)
            stock_minor = await set_aside(
                session,
                asset=asset,
                amount_minor=-amount_minor if is_back else amount_minor,
                source=source,
                key=key or new_id("cli"),
                clock=SystemClock(),
            )
    finally:
        await database.close()
    return {"asset": asset, "stock": format_units(stock_minor, decimals=row.decimals)}


async def _verify(context: Context) -> Verification:
    database = Database(context.owner_database_url())
    verdict = Verification(0, None)
    with Progress(console=context.log, transient=True) as progress:
        async with database.snapshot() as session:
            total = (await session.exec(select(func.max(AuditLink.sequence)))).one()
            task = progress.add_task("verifying links", total=total)
            async for verdict in verify(session):
                progress.update(task, completed=verdict.links)
    await database.close()
    return verdict


async def _balances(
    context: Context, user: str | None
) -> tuple[list[dict[str, str]], dict[str, str]]:
    database = Database(context.owner_database_url())
    async with database.snapshot() as session:
        if user is not None:
            owned = await customer_balances(session, user)
            rows = [
                {"account": name, "asset": b.asset, "balance": str(amount_minor)}
                for b in owned
                for name, amount_minor in (("available", b.available_minor), ("held", b.held_minor))
            ]
            sums: dict[str, str] = {}
        else:
            rows = [
                {"account": a.code, "asset": a.asset, "balance": str(a.balance_minor)}
                for a in await system_balances(session)
            ]
            sums = {asset: str(total) for asset, total in (await asset_sums(session)).items()}
    await database.close()
    return rows, sums
