"""``strongroom deposit``: addresses to receive at, and what arrived there."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import segno
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from cli.context import context_of
from cli.streams import standings
from domain.deposits import DepositStatus
from domain.ids import new_id
from domain.money import format_units

app = typer.Typer(help="Deposits: addresses, and what arrived there.", no_args_is_help=True)

DepositId = Annotated[str, typer.Argument(help="dep_…")]
Everybody = Annotated[bool, typer.Option("--all", help="Of all users; needs a role.")]
Limit = Annotated[int, typer.Option(min=1, max=100)]


@app.command()
def address(
    typer_context: typer.Context,
    asset: Annotated[str, typer.Option(prompt="Asset", help="Asset code, such as BTC.")],
    label: Annotated[str | None, typer.Option(help="What the address is called.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Repeat it when you repeat the command.")
    ] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Draw the QR code for a wallet app.")] = False,
) -> None:
    """Hand out a fresh address to receive an asset at."""
    context = context_of(typer_context)
    body = {"asset": asset} | ({} if label is None else {"label": label})
    key = idempotency_key or new_id("cli")
    with context.api() as api:
        made = api.send("POST", "/v1/deposit-addresses", body, idempotency_key=key)
    if qr:
        segno.make_qr(made["payment_uri"]).terminal(out=sys.stderr, compact=True)
    context.show(made, f"{made['address']}\n{made['payment_uri']}\n{made['id']}")


@app.command()
def addresses(
    typer_context: typer.Context,
    asset: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    everybody: Everybody = False,
    limit: Limit = 20,
) -> None:
    """List addresses that were handed out, newest first."""
    context = context_of(typer_context)
    scope = "all" if everybody else "mine"
    with context.api() as api:
        page = api.get("/v1/deposit-addresses", asset=asset, scope=scope, limit=limit)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("id", "asset", "address", "label", "created"):
        table.add_column(heading)
    for a in page["items"]:
        table.add_row(a["id"], a["asset"], a["address"], a["label"] or "", a["created_at"][:19])
    context.out.print(table)


@app.command("list")
def list_deposits(
    typer_context: typer.Context,
    status: Annotated[DepositStatus | None, typer.Option(help="Only these.")] = None,
    asset: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    everybody: Everybody = False,
    limit: Limit = 20,
) -> None:
    """List deposits, newest first."""
    context = context_of(typer_context)
    query = {"status": status, "asset": asset, "scope": "all" if everybody else "mine"}
    with context.api() as api:
        page = api.get("/v1/deposits", limit=limit, **query)
        decimals = {a["code"]: a["decimals"] for a in api.get("/v1/assets")["items"]}
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("deposit", "amount", "status", "confirmations", "seen"):
        table.add_column(heading)
    for d in page["items"]:
        depth = f"{d['confirmations']}/{d['confirmations_required']}"
        table.add_row(d["id"], _amount(d, decimals), d["status"], depth, d["seen_at"][:19])
    context.out.print(table)


@app.command()
def show(typer_context: typer.Context, deposit_id: DepositId) -> None:
    """Show everything about a deposit."""
    context = context_of(typer_context)
    with context.api() as api:
        context.show(api.get(f"/v1/deposits/{deposit_id}"))


@app.command()
def explain(typer_context: typer.Context, deposit_id: DepositId) -> None:
    """Say in one sentence what a deposit waits for."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get(f"/v1/deposits/{deposit_id}/explain")
    context.show(answer, answer["explanation"])


@app.command()
def watch(typer_context: typer.Context, deposit_id: DepositId) -> None:
    """Follow a deposit's confirmations to their end; exit 0 if it was credited, 1 otherwise."""
    context = context_of(typer_context)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with context.api() as api:
        with Progress(*columns, console=context.log) as progress:
            task = progress.add_task("waiting", total=None)
            for event in standings(api, f"/v1/deposits/{deposit_id}/events"):
                if event["confirmations"] is None:
                    continue  # it tells the past
                required = event["confirmations_required"]
                done = min(event["confirmations"], required)
                progress.update(task, description=event["status"], completed=done, total=required)
        answer = api.get(f"/v1/deposits/{deposit_id}/explain")
    context.show(answer, f"{deposit_id} {answer['status']}: {answer['explanation']}")
    if answer["status"] != DepositStatus.CREDITED:
        raise typer.Exit(1)


def _amount(deposit: Mapping[str, Any], decimals: Mapping[str, int]) -> str:
    if deposit["asset"] is None:
        return f"{deposit['amount']} of {deposit['contract_address']}"
    units = format_units(int(deposit["amount"]), decimals=decimals[deposit["asset"]])
    return f"{units} {deposit['asset']}"
