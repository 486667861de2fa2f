"""``strongroom limits``: what users of each KYC level may do."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.context import context_of

app = typer.Typer(help="Limits by KYC level.", no_args_is_help=True)


@app.command()
def show(typer_context: typer.Context) -> None:
    """Show the limits in force (admins)."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get("/v1/limits")
    if context.is_json:
        context.show(answer)
        return
    context.out.print(f"version {answer['version']}")
    table = Table()
    for heading in ("level", "operation", "asset", "window", "count", "amount"):
        table.add_column(heading)
    for e in answer["document"]["limits"]:
        named = (str(e["level"]), e["operation"], e["asset"], e["window"])
        count = "" if e["count"] is None else str(e["count"])
        table.add_row(*named, count, e["amount_minor"] or "")
    context.out.print(table)


@app.command("set")
def set_limits(
    typer_context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A limits document.")],
    code: Annotated[
        str,
        typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code."),
    ],
) -> None:
    """Put new limits in force (owners)."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.send("PUT", "/v1/limits", json.loads(file.read_text()), code=code)
    context.show(answer, f"Limits version {answer['version']} is in force.")
