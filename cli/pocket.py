"""``strongroom pocket``: your own wallets on chains, and moving money to and from them."""

from typing import Annotated, Any

import typer
from rich.table import Table

from cli.amounts import Scales
from cli.client import ApiClient
from cli.context import context_of
from domain.ids import new_id
from domain.payouts import PayoutStatus, Priority
from domain.pockets import ALL, Route

app = typer.Typer(help="Pockets: your own wallets on chains.", no_args_is_help=True)

TransferId = Annotated[str, typer.Argument(help="ptr_…")]
Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]
Note = Annotated[str | None, typer.Option(help="A note for the record.")]
Key = Annotated[str | None, typer.Option(help="Repeat it when you repeat the command.")]
Urgency = Annotated[Priority | None, typer.Option(help="How soon; normal unless given.")]
AssetOrNone = Annotated[str | None, typer.Argument(help="What leaves; a quote says it itself.")]
AmountOrNone = Annotated[
    str | None, typer.Argument(help="In whole units, such as 0.25; a quote says it itself.")
]
AmountOrAll = Annotated[
    str | None, typer.Argument(help="In whole units, or `all`; a quote says it itself.")
]
QuoteId = Annotated[
    str | None,
    typer.Option("--quote", help="quo_…: convert as `strongroom quote ask --for conversion` said."),
]


@app.command("list")
def list_pockets(typer_context: typer.Context) -> None:
    """List your pockets with what is on them."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get("/v1/pockets")
        scales = Scales(api)
    if context.is_json:
        context.show(answer)
        return
    table = Table()
    for heading in ("pocket", "chain", "address", "available", "held"):
        table.add_column(heading, no_wrap=True)
    for p in answer["items"]:
        sums = [
            "\n".join(scales.shown(b["asset"], b[name]) for b in p["balances"])
            for name in ("available", "held")
        ]
        table.add_row(p["id"], p["chain_id"], p["address"], *sums)
    context.out.print(table)


@app.command()
def create(
    typer_context: typer.Context,
    chain_id: Annotated[str, typer.Argument(help="CAIP-2, such as eip155:1.")],
) -> None:
    """Make your pocket on a chain; the first transfer to it does so too."""
    context = context_of(typer_context)
    with context.api() as api:
        pocket = api.send("POST", "/v1/pockets", {"chain_id": chain_id})
    context.show(pocket, f"{pocket['id']}: {pocket['address']}")


@app.command()
def fund(
    typer_context: typer.Context,
    code: Code,
    asset: AssetOrNone = None,
    amount: AmountOrNone = None,
    quote_id: QuoteId = None,
    note: Note = None,
    priority: Urgency = None,
    idempotency_key: Key = None,
) -> None:
    """Move money from your balance to your pocket, once approved."""
    context = context_of(typer_context)
    with context.api() as api:
        body = _sum(api, asset, amount, quote_id) | _said(note, priority)
        made = _move(api, Route.FUND, body, code, idempotency_key)
    context.show(made, f"{made['id']} is {made['status']}.")


@app.command()
def redeem(
    typer_context: typer.Context,
    code: Code,
    asset: AssetOrNone = None,
    amount: AmountOrAll = None,
    quote_id: QuoteId = None,
    note: Note = None,
    idempotency_key: Key = None,
) -> None:
    """Move money from your pocket back to your balance."""
    context = context_of(typer_context)
    with context.api() as api:
        body = _sum(api, asset, amount, quote_id) | _said(note, None)
        made = _move(api, Route.REDEEM, body, code, idempotency_key)
    context.show(made, f"{made['id']} is {made['status']}.")


@app.command()
def send(
    typer_context: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset code, such as ETH.")],
    amount: Annotated[str, typer.Argument(help="In whole units, or `all`.")],
    destination: Annotated[str, typer.Argument(help="Address on the asset's chain.")],
    code: Code,
    note: Note = None,
    idempotency_key: Key = None,
) -> None:
    """Pay an external address from your pocket, once approved."""
    context = context_of(typer_context)
    with context.api() as api:
        body = _sum(api, asset, amount, None) | _said(note, None) | {"destination": destination}
        made = _move(api, Route.SEND, body, code, idempotency_key)
    context.show(made, f"{made['id']} is {made['status']}.")


@app.command()
def transfers(
    typer_context: typer.Context,
    status: Annotated[PayoutStatus | None, typer.Option(help="Only these.")] = None,
    route: Annotated[Route | None, typer.Option(help="Only these.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Of all users; needs a role.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
) -> None:
    """List transfers to and from pockets, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        scope = "all" if everybody else "mine"
        page = api.get("/v1/pocket-transfers", status=status, route=route, scope=scope, limit=limit)
        scales = Scales(api)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("transfer", "route", "amount", "to", "status", "created"):
        table.add_column(heading)
    for t in page["items"]:
        to = t["destination"] or "" if t["conversion"] is None else _bought(t, scales)
        row = [t["id"], t["route"], scales.shown(t["asset"], t["amount"]), to, t["status"]]
        table.add_row(*row, t["created_at"][:19])
    context.out.print(table)


@app.command()
def show(typer_context: typer.Context, transfer_id: TransferId) -> None:
    """Show everything about a transfer."""
    context = context_of(typer_context)
    with context.api() as api:
        context.show(api.get(f"/v1/pocket-transfers/{transfer_id}"))


@app.command()
def explain(typer_context: typer.Context, transfer_id: TransferId) -> None:
    """Say in one sentence what a transfer waits for."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get(f"/v1/pocket-transfers/{transfer_id}/explain")
    context.show(answer, answer["explanation"])


@app.command()
def cancel(typer_context: typer.Context, transfer_id: TransferId, code: Code) -> None:
    """Take a transfer back that no batch has taken."""
    _act(typer_context, transfer_id, "cancellation", code, None)


@app.command()
def approve(
    typer_context: typer.Context, transfer_id: TransferId, code: Code, note: Note = None
) -> None:
    """Approve a transfer (approvers)."""
    _act(typer_context, transfer_id, "approvals", code, {"note": note})


@app.command()
def reject(
    typer_context: typer.Context, transfer_id: TransferId, code: Code, note: Note = None
) -> None:
    """Reject a transfer (approvers)."""
    _act(typer_context, transfer_id, "rejections", code, {"note": note})


@app.command()
def refund(
    typer_context: typer.Context, transfer_id: TransferId, code: Code, note: Note = None
) -> None:
    """Refund a transfer that is stuck before it was signed (operators)."""
    _act(typer_context, transfer_id, "refunds", code, {"note": note})


@app.command()
def retry(
    typer_context: typer.Context, transfer_id: TransferId, code: Code, note: Note = None
) -> None:
    """Try a transfer again whose chain transaction was given up (operators)."""
    _act(typer_context, transfer_id, "retries", code, {"note": note})


def _act(typer_context: typer.Context, transfer_id: str, action: str, code: str, body: Any) -> None:
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.send("POST", f"/v1/pocket-transfers/{transfer_id}/{action}", body, code=code)
    context.show(answer, f"{transfer_id} is {answer['status']}.")


def _move(api: ApiClient, route: Route, body: Any, code: str, key: str | None) -> Any:
    body = {"route": route} | body
    key = key or new_id("cli")
    return api.send("POST", "/v1/pocket-transfers", body, code=code, idempotency_key=key)


def _sum(
    api: ApiClient, asset: str | None, amount: str | None, quote_id: str | None
) -> dict[str, str]:
    if (quote_id is None) == (asset is None) or (asset is None) != (amount is None):
        msg = "Give an asset and an amount, or a --quote that says both."
        raise typer.BadParameter(msg)
    if quote_id is not None:
        quote = api.get(f"/v1/quotes/{quote_id}")
        return {
            "asset": quote["pay_asset"],
            "to_asset": quote["buy_asset"],
            "amount": quote["pay_amount"],
            "quote_id": quote_id,
        }
    assert asset is not None
    assert amount is not None
    return {"asset": asset, "amount": ALL if amount == ALL else Scales(api).minor(asset, amount)}


def _said(note: str | None, priority: Priority | None) -> dict[str, str]:
    said = {} if note is None else {"note": note}
    return said if priority is None else said | {"priority": priority}


def _bought(transfer: Any, scales: Scales) -> str:
    return scales.shown(transfer["to_asset"], transfer["conversion"]["buy_amount"])
