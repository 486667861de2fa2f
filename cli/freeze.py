"""``strongroom freeze``: users whose deposit the chain took back."""

from typing import Annotated

import typer
from rich.table import Table

from cli.context import context_of

app = typer.Typer(help="Freezes: whose money may not leave.", no_args_is_help=True)

Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]


@app.command("list")
def list_freezes(typer_context: typer.Context) -> None:
    """List every freeze that is not lifted, oldest first (operators, auditors, owners)."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get("/v1/freezes")
    if context.is_json:
        context.show(answer)
        return
    table = Table()
    for heading in ("user", "deposit", "since"):
        table.add_column(heading)
    for f in answer["items"]:
        table.add_row(f["user_id"], f["deposit_id"] or "", f["created_at"][:19])
    context.out.print(table)


@app.command()
def lift(
    typer_context: typer.Context,
    user_id: Annotated[str, typer.Argument(help="usr_…")],
    code: Code,
) -> None:
    """Let a user's money leave again (operators)."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.send("POST", f"/v1/users/{user_id}/freezes/lift", code=code)
    context.show(answer, f"{answer['lifted']} freezes of {user_id} lifted.")
