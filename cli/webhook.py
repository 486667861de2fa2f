"""``strongroom webhook``: where your events are sent, and what became of them."""

from typing import Annotated, Any

import typer
from rich.table import Table

from cli.context import Context, context_of
from domain.webhooks import EVERY_KIND, DeliveryStatus

app = typer.Typer(help="Webhooks: endpoints and deliveries.", no_args_is_help=True)

ENDPOINTS = "/v1/webhook-endpoints"

EndpointId = Annotated[str, typer.Argument(help="whe_…")]
DeliveryId = Annotated[str, typer.Argument(help="whd_…")]
Limit = Annotated[int, typer.Option(min=1, max=100)]
Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]


@app.command()
def create(
    typer_context: typer.Context,
    url: Annotated[str, typer.Argument(help="An https address that is public.")],
    code: Code,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="May be repeated; `payout.*`, or all unless given."),
    ] = None,
    description: Annotated[str | None, typer.Option(help="Your name for it.")] = None,
) -> None:
    """Have your events sent to an address; prints the secret, which is shown this once."""
    context = context_of(typer_context)
    body: dict[str, Any] = {"url": url, "types": types or [EVERY_KIND]}
    if description is not None:
        body["description"] = description
    with context.api() as api:
        issued = api.send("POST", ENDPOINTS, body, code=code)
    _show_secret(context, issued)


@app.command("list")
def list_endpoints(typer_context: typer.Context, limit: Limit = 20) -> None:
    """List your endpoints, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        page = api.get(ENDPOINTS, limit=limit)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("endpoint", "address", "types", "state", "failing since"):
        table.add_column(heading)
    for e in page["items"]:
        state = "enabled" if e["is_enabled"] else f"disabled ({e['disabled_reason'] or 'by you'})"
        failing = (e["failing_since"] or "")[:19]
        table.add_row(e["id"], e["url"], " ".join(e["types"]), state, failing)
    context.out.print(table)


@app.command()
def show(typer_context: typer.Context, endpoint_id: EndpointId) -> None:
    """Show an endpoint, and how it does."""
    context = context_of(typer_context)
    with context.api() as api:
        context.show(api.get(f"{ENDPOINTS}/{endpoint_id}"))


@app.command()
def ping(typer_context: typer.Context, endpoint_id: EndpointId) -> None:
    """Send a test event to one endpoint."""
    context = context_of(typer_context)
    with context.api() as api:
        delivery = api.send("POST", f"{ENDPOINTS}/{endpoint_id}/pings")
    context.show(delivery, f"{delivery['id']} is {delivery['status']}.")


@app.command()
def deliveries(
    typer_context: typer.Context,
    endpoint_id: EndpointId,
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only these.")] = None,
    limit: Limit = 20,
) -> None:
    """List what was sent to an endpoint, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        page = api.get(f"{ENDPOINTS}/{endpoint_id}/deliveries", status=status, limit=limit)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("delivery", "event", "type", "status", "attempts", "next attempt", "created"):
        table.add_column(heading)
    for d in page["items"]:
        named = (d["id"], d["event_id"], d["type"], d["status"], str(d["attempt_count"]))
        table.add_row(*named, (d["next_attempt_at"] or "")[:19], d["created_at"][:19])
    context.out.print(table)


@app.command()
def delivery(
    typer_context: typer.Context, endpoint_id: EndpointId, delivery_id: DeliveryId
) -> None:
    """Show a delivery with every attempt."""
    context = context_of(typer_context)
    with context.api() as api:
        context.show(api.get(f"{ENDPOINTS}/{endpoint_id}/deliveries/{delivery_id}"))


@app.command()
def redeliver(
    typer_context: typer.Context, endpoint_id: EndpointId, delivery_id: DeliveryId
) -> None:
    """Send a delivery's event once more."""
    context = context_of(typer_context)
    path = f"{ENDPOINTS}/{endpoint_id}/deliveries/{delivery_id}/redeliveries"
    with context.api() as api:
        again = api.send("POST", path)
    context.show(again, f"{again['id']} is {again['status']}.")


@app.command()
def rotate(
    typer_context: typer.Context,
    endpoint_id: EndpointId,
    code: Code,
    overlap_s: Annotated[
        int | None, typer.Option(help="So long the secret before signs too; a day unless given.")
    ] = None,
) -> None:
    """Draw a new secret and print it; it is shown this once."""
    context = context_of(typer_context)
    body = {} if overlap_s is None else {"overlap_s": overlap_s}
    with context.api() as api:
        issued = api.send("POST", f"{ENDPOINTS}/{endpoint_id}/secret-rotations", body, code=code)
    _show_secret(context, issued)


@app.command()
def enable(typer_context: typer.Context, endpoint_id: EndpointId) -> None:
    """Send to an endpoint again, from the next event on."""
    _switch(typer_context, endpoint_id, is_enabled=True)


@app.command()
def disable(typer_context: typer.Context, endpoint_id: EndpointId) -> None:
    """Send nothing to an endpoint until it is enabled again."""
    _switch(typer_context, endpoint_id, is_enabled=False)


@app.command()
def delete(typer_context: typer.Context, endpoint_id: EndpointId) -> None:
    """Remove an endpoint; what is being tried again is cancelled."""
    context = context_of(typer_context)
    with context.api() as api:
        api.send("DELETE", f"{ENDPOINTS}/{endpoint_id}")
    context.show({"removed": endpoint_id}, f"{endpoint_id} is removed.")


def _switch(typer_context: typer.Context, endpoint_id: str, *, is_enabled: bool) -> None:
    context = context_of(typer_context)
    with context.api() as api:
        changed = api.send("PATCH", f"{ENDPOINTS}/{endpoint_id}", {"is_enabled": is_enabled})
    context.show(changed, f"{endpoint_id} is {'enabled' if is_enabled else 'disabled'}.")


def _show_secret(context: Context, issued: Any) -> None:
    endpoint_id = issued["endpoint"]["id"]
    context.show(issued, f"{endpoint_id}\n{issued['secret']}")
