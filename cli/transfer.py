"""``strongroom transfer``: money to another user."""

from typing import Annotated, Any

import typer
from rich.table import Table

from cli.amounts import Scales
from cli.client import ApiClient
from cli.context import context_of
from domain.ids import new_id

app = typer.Typer(help="Money between users: send, list, ask, pay.", no_args_is_help=True)

Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]
Note = Annotated[str | None, typer.Option(help="A note for the other one.")]
Key = Annotated[str | None, typer.Option(help="Repeat it when you repeat the command.")]


@app.command()
def send(
    typer_context: typer.Context,
    to: Annotated[str, typer.Argument(help="@handle, user id, or a strongroom: link.")],
    code: Code,
    asset: Annotated[str | None, typer.Option(help="Unless the link says it.")] = None,
    amount: Annotated[
        str | None, typer.Option(help="In whole units, such as 0.25; unless the link says it.")
    ] = None,
    note: Note = None,
    idempotency_key: Key = None,
) -> None:
    """Send money to another user, at once and free of charge."""
    context = context_of(typer_context)
    with context.api() as api:
        body = {"to": to} | _sum(api, asset, amount) | _said(note)
        made = _send(api, "/v1/transfers", body, code, idempotency_key)
    context.show(made, f"{made['id']} is {made['status']}.")


@app.command("list")
def list_transfers(
    typer_context: typer.Context,
    everybody: Annotated[bool, typer.Option("--all", help="Of all users; needs a role.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
) -> None:
    """List transfers, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        page = api.get("/v1/transfers", scope="all" if everybody else "mine", limit=limit)
        scales = Scales(api)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("transfer", "amount", "from", "to", "note", "created"):
        table.add_column(heading)
    for t in page["items"]:
        parties = [_name(t[side]) for side in ("sender", "recipient")]
        amount = scales.shown(t["asset"], t["amount"])
        table.add_row(t["id"], amount, *parties, t["note"] or "", t["created_at"][:19])
    context.out.print(table)


@app.command()
def request(
    typer_context: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset code, such as ETH.")],
    payer: Annotated[
        str | None, typer.Option(help="@handle or user id; else whoever has the link.")
    ] = None,
    amount: Annotated[
        str | None, typer.Option(help="In whole units; else the payer chooses.")
    ] = None,
    note: Note = None,
    idempotency_key: Key = None,
) -> None:
    """Ask for money; prints the link that pays it."""
    context = context_of(typer_context)
    with context.api() as api:
        body = _sum(api, asset, amount) | _said(note) | ({"payer": payer} if payer else {})
        asked = _send(api, "/v1/money-requests", body, None, idempotency_key)
    context.show(asked, f"{asked['id']}: {asked['link']}")


@app.command()
def requests(
    typer_context: typer.Context, limit: Annotated[int, typer.Option(min=1, max=100)] = 20
) -> None:
    """List requests for money, sent and received, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        page = api.get("/v1/money-requests", limit=limit)
        scales = Scales(api)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("request", "amount", "to be paid", "by", "status", "expires"):
        table.add_column(heading)
    for r in page["items"]:
        amount = scales.shown(r["asset"], r["amount"]) if r["amount"] else f"any {r['asset']}"
        payer = _name(r["payer"]) if r["payer"] else "whoever has the link"
        row = [r["id"], amount, _name(r["requester"]), payer, r["status"]]
        table.add_row(*row, r["expires_at"][:19])
    context.out.print(table)


@app.command()
def pay(
    typer_context: typer.Context,
    request_id: Annotated[str, typer.Argument(help="mrq_…")],
    code: Code,
    asset: Annotated[str | None, typer.Option(help="Needed with an amount.")] = None,
    amount: Annotated[
        str | None, typer.Option(help="In whole units, where the request leaves it to you.")
    ] = None,
    note: Note = None,
    idempotency_key: Key = None,
) -> None:
    """Pay a request for money."""
    context = context_of(typer_context)
    with context.api() as api:
        body = _sum(api, asset, amount) | _said(note)
        path = f"/v1/money-requests/{request_id}/payment"
        made = _send(api, path, body, code, idempotency_key)
    context.show(made, f"{request_id} is paid by {made['id']}.")


@app.command()
def handle(
    typer_context: typer.Context,
    wanted: Annotated[str | None, typer.Argument(help="Such as ada; none shows yours.")] = None,
) -> None:
    """Choose the handle under which you can be paid, or show it."""
    context = context_of(typer_context)
    with context.api() as api:
        if wanted is None:
            answer = api.get("/v1/handles/me")
        else:
            answer = api.send("PUT", "/v1/handles/me", {"handle": wanted.removeprefix("@")})
    context.show(answer, f"@{answer['handle']}: {answer['link']}")


def _send(api: ApiClient, path: str, body: Any, code: str | None, key: str | None) -> Any:
    return api.send("POST", path, body, code=code, idempotency_key=key or new_id("cli"))


def _sum(api: ApiClient, asset: str | None, amount: str | None) -> dict[str, str]:
    if amount is not None and asset is None:
        msg = "An amount needs --asset."
        raise typer.BadParameter(msg)
    said = {} if asset is None else {"asset": asset}
    if amount is not None and asset is not None:
        said["amount"] = Scales(api).minor(asset, amount)
    return said


def _said(note: str | None) -> dict[str, str]:
    return {} if note is None else {"note": note}


def _name(party: Any) -> str:
    return f"@{party['handle']}" if party["handle"] else str(party["user_id"])
