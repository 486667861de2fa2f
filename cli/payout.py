"""``strongroom payout``: ask, follow, decide."""

import time
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from cli.amounts import Scales
from cli.context import context_of
from domain.payouts import PayoutStatus, Priority

app = typer.Typer(help="Payouts: create, follow, approve.", no_args_is_help=True)

PayoutId = Annotated[str, typer.Argument(help="pay_…")]
Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]
Note = Annotated[str | None, typer.Option(help="A note for the record.")]
POLL_S = 0.5


@app.command()
def create(
    typer_context: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset code, such as ETH.")],
    amount: Annotated[str, typer.Argument(help="In whole units, such as 0.25.")],
    destination: Annotated[str, typer.Argument(help="Address on the asset's chain.")],
    code: Code,
    note: Note = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Repeat it when you repeat the command.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    priority: Annotated[
        Priority | None, typer.Option(help="How soon, and at which fees; normal unless given.")
    ] = None,
) -> None:
    """Freeze an amount and pay it out once approved."""
    context = context_of(typer_context)
    with context.api() as api:
        body = {
            "asset": asset,
            "amount": Scales(api).minor(asset, amount),
            "destination": destination,
        }
        if note is not None:
            body["note"] = note
        if priority is not None:
            body["priority"] = priority
        payout = api.create_payout(body, code=code, idempotency_key=idempotency_key)
    context.show(payout, f"{payout['id']} is {payout['status']}.")
    if watch:
        follow(typer_context, payout["id"])


@app.command()
def fees(
    typer_context: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset code, such as ETH.")],
) -> None:
    """Show what a payout costs on its chain now, by priority."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get("/v1/fees", asset=asset)
    if context.is_json:
        context.show(answer)
        return
    rate = answer["fee_rate"]
    context.out.print(f"now: {rate['amount']} {rate['unit']}" if rate else "now: not known")
    table = Table()
    for heading in ("priority", "ceiling", f"network fee ({answer['native_asset']})", "waits now"):
        table.add_column(heading)
    for e in answer["estimates"]:
        waits = "for lower fees" if e["would_wait"] else f"{e['waits_for_company_ms']} ms"
        table.add_row(e["priority"], e["ceiling"], e["network_fee"] or "?", waits)
    context.out.print(table)


@app.command()
def show(typer_context: typer.Context, payout_id: PayoutId) -> None:
    """Show everything about a payout."""
    context = context_of(typer_context)
    with context.api() as api:
        context.show(api.get(f"/v1/payouts/{payout_id}"))


@app.command("list")
def list_payouts(
    typer_context: typer.Context,
    status: Annotated[PayoutStatus | None, typer.Option(help="Only these.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Of all users; needs a role.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
) -> None:
    """List payouts, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        scope = "all" if everybody else "mine"
        page = api.get("/v1/payouts", status=status, scope=scope, limit=limit)
        scales = Scales(api)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("payout", "amount", "destination", "status", "created"):
        table.add_column(heading)
    for p in page["items"]:
        amount = scales.shown(p["asset"], p["amount"])
        table.add_row(p["id"], amount, p["destination"], p["status"], p["created_at"][:19])
    context.out.print(table)


@app.command()
def explain(typer_context: typer.Context, payout_id: PayoutId) -> None:
    """Say in one sentence what a payout waits for."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get(f"/v1/payouts/{payout_id}/explain")
    context.show(answer, answer["explanation"])


@app.command("watch")
def follow(typer_context: typer.Context, payout_id: PayoutId) -> None:
    """Follow a payout to its end; exit 0 if it settled, 1 otherwise."""
    context = context_of(typer_context)
    with context.api() as api:
        with Live(console=context.log, refresh_per_second=4) as live:
            while True:
                answer = api.get(f"/v1/payouts/{payout_id}/explain")
                live.update(f"{answer['status']}: {answer['explanation']}")
                if PayoutStatus(answer["status"]).is_final:
                    break
                time.sleep(POLL_S)
        payout = api.get(f"/v1/payouts/{payout_id}")
    context.show(payout, f"{payout_id} {answer['status']}: {answer['explanation']}")
    if answer["status"] != PayoutStatus.SETTLED:
        raise typer.Exit(1)


@app.command()
def cancel(typer_context: typer.Context, payout_id: PayoutId, code: Code) -> None:
    """Take a payout back that no batch has taken."""
    _act(typer_context, payout_id, "cancellation", code, None)


@app.command()
def approve(
    typer_context: typer.Context, payout_id: PayoutId, code: Code, note: Note = None
) -> None:
    """Approve a payout."""
    _act(typer_context, payout_id, "approvals", code, {"note": note})


@app.command()
def reject(
    typer_context: typer.Context, payout_id: PayoutId, code: Code, note: Note = None
) -> None:
    """Reject a payout."""
    _act(typer_context, payout_id, "rejections", code, {"note": note})


@app.command()
def refund(
    typer_context: typer.Context, payout_id: PayoutId, code: Code, note: Note = None
) -> None:
    """Refund a payout that is stuck before it was signed (operators)."""
    _act(typer_context, payout_id, "refunds", code, {"note": note})


@app.command()
def retry(typer_context: typer.Context, payout_id: PayoutId, code: Code, note: Note = None) -> None:
    """Try a payout again whose chain transaction was given up (operators)."""
    _act(typer_context, payout_id, "retries", code, {"note": note})


def _act(typer_context: typer.Context, payout_id: str, action: str, code: str, body: Any) -> None:
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.send("POST", f"/v1/payouts/{payout_id}/{action}", body, code=code)
    context.show(answer, f"{payout_id} is {answer['status']}.")
