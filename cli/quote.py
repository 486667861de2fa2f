"""``strongroom quote``: what so much costs, or buys, held for a short while."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.amounts import Scales
from cli.context import context_of
from domain.rate_table import Purpose

app = typer.Typer(help="Quotes: a rate that is held for one use.", no_args_is_help=True)


class Side(StrEnum):
    """Which of the two amounts is given."""

    PAY = "pay"
    BUY = "buy"


@app.command()
def ask(
    typer_context: typer.Context,
    pay_asset: Annotated[str, typer.Argument(help="What pays, such as ETH.")],
    buy_asset: Annotated[str, typer.Argument(help="What is bought, such as ITD.")],
    amount: Annotated[str, typer.Argument(help="In whole units, such as 0.25.")],
    side: Annotated[Side, typer.Option(help="Of which of both the amount is.")] = Side.PAY,
    purpose: Annotated[Purpose, typer.Option("--for", help="What it is for.")] = Purpose.PURCHASE,
) -> None:
    """Hold a rate for one purchase, or for one transfer of a pocket that converts."""
    context = context_of(typer_context)
    with context.api() as api:
        scales = Scales(api)
        given = pay_asset if side is Side.PAY else buy_asset
        body = {
            "pay_asset": pay_asset,
            "buy_asset": buy_asset,
            "side": side,
            "amount": scales.minor(given, amount),
            "purpose": purpose,
        }
        quote = api.send("POST", "/v1/quotes", body)
    context.show(quote, f"{quote['id']}: {_said(quote, scales)}, until {quote['expires_at'][:19]}.")


@app.command()
def show(
    typer_context: typer.Context, quote_id: Annotated[str, typer.Argument(help="quo_…")]
) -> None:
    """Show everything about a quote."""
    context = context_of(typer_context)
    with context.api() as api:
        context.show(api.get(f"/v1/quotes/{quote_id}"))


@app.command("list")
def list_quotes(
    typer_context: typer.Context, limit: Annotated[int, typer.Option(min=1, max=100)] = 20
) -> None:
    """List your quotes, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        page = api.get("/v1/quotes", limit=limit)
        scales = Scales(api)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("quote", "for a", "what", "expires"):
        table.add_column(heading)
    for q in page["items"]:
        table.add_row(q["id"], q["purpose"], _said(q, scales), q["expires_at"][:19])
    context.out.print(table)


def _said(quote: Any, scales: Scales) -> str:
    paid = scales.shown(quote["pay_asset"], quote["pay_amount"])
    return f"{paid} for {scales.shown(quote['buy_asset'], quote['buy_amount'])}"
