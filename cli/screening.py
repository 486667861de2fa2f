"""``strongroom screening``: addresses that must not be paid."""

from typing import Annotated

import typer
from rich.table import Table

from cli.context import context_of

app = typer.Typer(help="Screening: addresses that must not be paid.", no_args_is_help=True)

Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]
ChainId = Annotated[str, typer.Argument(help="CAIP-2, such as eip155:1.")]
Address = Annotated[str, typer.Argument(help="The address on that chain.")]


@app.command("list")
def list_screenings(typer_context: typer.Context) -> None:
    """List what is said of addresses (operators, auditors, owners)."""
    context = context_of(typer_context)
    with context.api() as api:
        items, cursor = [], None
        while True:
            page = api.get("/v1/screening", limit=100, cursor=cursor)
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    if context.is_json:
        context.show({"items": items, "next_cursor": None})
        return
    table = Table()
    for heading in ("chain", "address", "verdict", "reason", "since"):
        table.add_column(heading)
    for e in items:
        table.add_row(e["chain_id"], e["address"], e["verdict"], e["reason"], e["created_at"][:19])
    context.out.print(table)


@app.command()
def add(
    typer_context: typer.Context,
    chain_id: ChainId,
    address: Address,
    code: Code,
    reason: Annotated[str, typer.Option(help="Why; whoever is refused reads it.")],
    allow: Annotated[
        bool, typer.Option("--allow", help="Let it pass, whatever a provider says.")
    ] = False,
) -> None:
    """Deny an address, or allow it (operators)."""
    context = context_of(typer_context)
    body = {"verdict": "allow" if allow else "deny", "reason": reason}
    with context.api() as api:
        answer = api.send("PUT", f"/v1/screening/{chain_id}/{address}", body, code=code)
    context.show(answer, f"{answer['address']} on {chain_id}: {answer['verdict']}.")


@app.command()
def remove(typer_context: typer.Context, chain_id: ChainId, address: Address, code: Code) -> None:
    """Forget what is said of an address (operators)."""
    context = context_of(typer_context)
    with context.api() as api:
        api.send("DELETE", f"/v1/screening/{chain_id}/{address}", code=code)
    context.show({"removed": address}, f"{address} on {chain_id} is not screened any more.")
