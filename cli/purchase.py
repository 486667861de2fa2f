"""``strongroom purchase``: buy what a quote says."""

from typing import Annotated, Any

import typer
from rich.table import Table

from cli.amounts import Scales
from cli.context import context_of
from domain.ids import new_id
from domain.purchases import PurchaseStatus

app = typer.Typer(help="Purchases: create, follow, give back.", no_args_is_help=True)

PurchaseId = Annotated[str, typer.Argument(help="pur_…")]
Key = Annotated[str | None, typer.Option(help="Repeat it when you repeat the command.")]


@app.command()
def create(
    typer_context: typer.Context,
    quote_id: Annotated[str, typer.Argument(help="quo_…, of `strongroom quote ask`.")],
    idempotency_key: Key = None,
) -> None:
    """Take a quote, and say where to pay."""
    context = context_of(typer_context)
    with context.api() as api:
        key = idempotency_key or new_id("cli")
        body = {"quote_id": quote_id}
        bought = api.send("POST", "/v1/purchases", body, idempotency_key=key)
        scales = Scales(api)
    context.show(bought, f"{bought['id']} is {bought['status']}. {_payable(bought, scales)}")


@app.command()
def show(typer_context: typer.Context, purchase_id: PurchaseId) -> None:
    """Show everything about a purchase."""
    context = context_of(typer_context)
    with context.api() as api:
        context.show(api.get(f"/v1/purchases/{purchase_id}"))


@app.command("list")
def list_purchases(
    typer_context: typer.Context,
    status: Annotated[PurchaseStatus | None, typer.Option(help="Only these.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Of all users; needs a role.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
) -> None:
    """List purchases, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        scope = "all" if everybody else "mine"
        page = api.get("/v1/purchases", status=status, scope=scope, limit=limit)
        scales = Scales(api)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("purchase", "amount", "credited", "for", "status", "expires"):
        table.add_column(heading)
    for p in page["items"]:
        sums = [scales.shown(p["asset"], p[name]) for name in ("amount", "credited")]
        price = scales.shown(p["pay_asset"], p["pay_amount"])
        table.add_row(p["id"], *sums, price, p["status"], p["expires_at"][:19])
    context.out.print(table)


@app.command()
def cancel(typer_context: typer.Context, purchase_id: PurchaseId) -> None:
    """Give up a purchase that nothing was paid for."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.send("POST", f"/v1/purchases/{purchase_id}/cancellation")
    context.show(answer, f"{purchase_id} is {answer['status']}.")


@app.command()
def refund(
    typer_context: typer.Context,
    purchase_id: PurchaseId,
    amount: Annotated[str, typer.Argument(help="Of what was paid, in whole units.")],
    code: Annotated[
        str,
        typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code."),
    ],
    note: Annotated[str | None, typer.Option(help="A note for the record.")] = None,
    idempotency_key: Key = None,
) -> None:
    """Give a payment back for what it bought (operators)."""
    context = context_of(typer_context)
    with context.api() as api:
        paid = api.get(f"/v1/purchases/{purchase_id}")["pay_asset"]
        body = {"amount": Scales(api).minor(paid, amount), "note": note}
        path = f"/v1/purchases/{purchase_id}/refunds"
        key = idempotency_key or new_id("cli")
        answer = api.send("POST", path, body, code=code, idempotency_key=key)
    context.show(answer, f"{purchase_id} is {answer['status']}.")


def _payable(purchase: Any, scales: Scales) -> str:
    until = f"before {purchase['expires_at'][:19]}"
    if purchase["pay_at"] is None:
        return f"It is paid by card, {until}."
    price = scales.shown(purchase["pay_asset"], purchase["pay_amount"])
    return f"Pay {price} to {purchase['pay_at']['address']}, {until}."
