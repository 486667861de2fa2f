"""``strongroom book``: destinations with a name, and paying only those."""

from typing import Annotated

import typer
from rich.table import Table

from cli.context import context_of

app = typer.Typer(help="Your address book.", no_args_is_help=True)

Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]


@app.command("list")
def list_entries(typer_context: typer.Context) -> None:
    """List the address book, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get("/v1/address-book", limit=100)
        preference = api.get("/v1/address-book/preference")
    if context.is_json:
        context.show(answer | {"preference": preference})
        return
    table = Table()
    for heading in ("id", "name", "chain", "address", "usable from"):
        table.add_column(heading)
    for e in answer["items"]:
        table.add_row(e["id"], e["name"], e["chain_id"], e["address"], e["usable_from"][:19])
    context.out.print(table)
    if preference["in_force"]:
        context.out.print("Only these are paid.")


@app.command()
def add(
    typer_context: typer.Context,
    chain_id: Annotated[str, typer.Argument(help="CAIP-2, such as eip155:1.")],
    address: Annotated[str, typer.Argument(help="The address on that chain.")],
    name: Annotated[str, typer.Argument(help="Your name for it.")],
    code: Code,
) -> None:
    """Name an address; it may be paid after the cool-down."""
    context = context_of(typer_context)
    body = {"chain_id": chain_id, "address": address, "name": name}
    with context.api() as api:
        answer = api.send("POST", "/v1/address-book", body, code=code)
    context.show(answer, f"{name} may be paid from {answer['usable_from'][:19]} on.")


@app.command()
def remove(
    typer_context: typer.Context, entry_id: Annotated[str, typer.Argument(help="bok_…")]
) -> None:
    """Take an entry out at once."""
    context = context_of(typer_context)
    with context.api() as api:
        api.send("DELETE", f"/v1/address-book/{entry_id}")
    context.show({"removed": entry_id}, f"{entry_id} is removed.")


@app.command()
def only(
    typer_context: typer.Context,
    code: Annotated[
        str | None, typer.Option(envvar="STRONGROOM_TOTP_CODE", help="One-time code, for --off.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Pay any address again.")] = False,
) -> None:
    """Pay only addresses of the book; ``--off`` ends that after the cool-down."""
    context = context_of(typer_context)
    given = code or (typer.prompt("One-time code") if off else None)
    with context.api() as api:
        answer = api.send("PUT", "/v1/address-book/preference", {"book_only": not off}, code=given)
    said = "Only addresses of the book are paid"
    until = f" until {answer['until'][:19]}" if answer["until"] else ""
    context.show(answer, f"{said}{until}." if answer["in_force"] else "Any address is paid.")
