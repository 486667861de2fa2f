"""``strongroom rates``: what is sold and converted, for what, at which price."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.context import context_of

app = typer.Typer(help="The table of rates.", no_args_is_help=True)


@app.command()
def show(typer_context: typer.Context) -> None:
    """Show the table of rates in force, and what each pair costs now."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get("/v1/rates")
    if context.is_json:
        context.show(answer)
        return
    if answer["version"] is None:
        context.out.print("There is no table of rates yet.")
        return
    context.out.print(f"version {answer['version']}")
    table = Table()
    for heading in ("pays", "buys", "for", "price", "spread", "minor units for one minor unit now"):
        table.add_column(heading)
    for pair, price in zip(answer["document"]["pairs"], answer["prices"], strict=True):
        table.add_row(
            pair["pay_asset"],
            pair["buy_asset"],
            ", ".join(pair["purposes"]),
            pair["price"] or f"market ({pair['symbol']})",
            f"{pair['spread_bps'] / 100:g} %",
            _rate(price["rate"]),
        )
    context.out.print(table)


@app.command("set")
def set_rates(
    typer_context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A table of rates.")],
    code: Annotated[
        str,
        typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code."),
    ],
) -> None:
    """Put a new table of rates in force (owners)."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.send("PUT", "/v1/rates", json.loads(file.read_text()), code=code)
    context.show(answer, f"Rates version {answer['version']} are in force.")


def _rate(rate: Any) -> str:
    if rate is None:
        return "not to be had"
    whole = rate["denominator"] == "1"
    return rate["numerator"] if whole else f"{rate['numerator']}/{rate['denominator']}"
