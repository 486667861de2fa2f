"""``strongroom mixer``: mixers, and mixes."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.client import ApiClient
from cli.context import context_of
from domain.ids import new_id
from domain.money import format_units

app = typer.Typer(help="Mixing, where it is switched on.", no_args_is_help=True)

Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]
MixId = Annotated[str, typer.Argument(help="mix_…")]
MixerId = Annotated[str, typer.Argument(help="mxr_…")]
Why = Annotated[str, typer.Option(help="Why; it is written into the audit trail.")]


@app.command("list")
def list_mixers(typer_context: typer.Context) -> None:
    """List mixers with their fees and windows."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get("/v1/mixers")
    if context.is_json:
        context.show(answer)
        return
    table = Table()
    for heading in ("mixer", "name", "asset", "status", "fee", "window"):
        table.add_column(heading, no_wrap=True)
    for e in answer["items"]:
        policy = e["policy"]
        fee = f"{policy['fee_numerator']}/{policy['fee_denominator']}"
        window = str(timedelta(seconds=policy["window_s"]))
        table.add_row(e["id"], e["name"], e["asset"], e["status"], fee, window)
    context.out.print(table)


@app.command()
def books(typer_context: typer.Context) -> None:
    """Show what each house has, owes and has earned (operators, auditors)."""
    context = context_of(typer_context)
    with context.api() as api:
        mixers = api.get("/v1/mixers")["items"]
        found = [api.get(f"/v1/mixers/{mixer['id']}/books") for mixer in mixers]
        decimals = _all_decimals(api)
    if context.is_json:
        context.show({"items": found})
        return
    table = Table()
    for heading in ("mixer", "asset", "house", "fees", "owed", "off by", "open mixes"):
        table.add_column(heading, no_wrap=True)
    for each in found:
        amounts = (
            format_units(int(each[name]), decimals=decimals[each["asset"]])
            for name in ("house", "fees", "owed", "imbalance")
        )
        table.add_row(each["mixer_id"], each["asset"], *amounts, str(each["open_mixes"]))
    context.out.print(table)


@app.command()
def create(
    typer_context: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset code, such as ETH.")],
    policy: Annotated[Path, typer.Argument(help="File with the policy, JSON.", exists=True)],
    code: Code,
    name: Annotated[str, typer.Option(help="What it is called.")] = "mixer",
) -> None:
    """Make a mixer (owners)."""
    context = context_of(typer_context)
    body = {"asset": asset, "name": name, "policy": json.loads(policy.read_text())}
    with context.api() as api:
        answer = api.send("POST", "/v1/mixers", body, code=code)
    context.show(answer, f"{answer['id']} is {answer['status']}.")


@app.command()
def drain(typer_context: typer.Context, mixer_id: MixerId, code: Code) -> None:
    """Take no new mixes from now on (owners)."""
    _change(typer_context, mixer_id, "draining", code)


@app.command()
def remove(typer_context: typer.Context, mixer_id: MixerId, code: Code) -> None:
    """Remove a mixer that has drained (owners)."""
    _change(typer_context, mixer_id, "removal", code)


@app.command()
def mix(
    typer_context: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset code, such as ETH.")],
    addresses: Annotated[list[str], typer.Argument(help="New addresses to be paid out to.")],
    code: Code,
    parts: Annotated[int, typer.Option(help="In at least so many parts.", min=1)] = 1,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Repeat it when you repeat the command.")
    ] = None,
) -> None:
    """Open a mix, and say where to pay in."""
    context = context_of(typer_context)
    body = {"asset": asset, "addresses": addresses, "parts": parts}
    key = idempotency_key or new_id("cli")
    with context.api() as api:
        answer = api.send("POST", "/v1/mixes", body, code=code, idempotency_key=key)
    text = f"{answer['id']} is {answer['status']}: pay in at {answer['deposit_address']}"
    context.show(answer, text)


@app.command("mixes")
def list_mixes(
    typer_context: typer.Context,
    everybody: Annotated[
        bool, typer.Option("--all", help="Everybody's (operators, auditors).")
    ] = False,
) -> None:
    """List mixes, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        page = api.get("/v1/mixes", scope="all" if everybody else "mine", limit=100)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("mix", "asset", "status", "held", "received", "doled"):
        table.add_column(heading, no_wrap=True)
    for e in page["items"]:
        row = (e["asset"], e["status"], e["hold"] or "", e["received"], e["doled"])
        table.add_row(e["id"], *row)
    context.out.print(table)


@app.command()
def show(typer_context: typer.Context, mix_id: MixId) -> None:
    """Show a mix: where it is paid in, and what is paid where."""
    context = context_of(typer_context)
    with context.api() as api:
        m = api.get(f"/v1/mixes/{mix_id}")
        decimals = _all_decimals(api).get(m["asset"], 0)
    if context.is_json:
        context.show(m)
        return
    context.out.print(f"{m['id']} is {m['status']}; it is paid in at {m['deposit_address']}")
    table = Table()
    for heading in ("due", "amount", "to", "status", "txid"):
        table.add_column(heading, no_wrap=True)
    for d in m["doles"]:
        amount = format_units(int(d["amount"]), decimals=decimals)
        status = d["payout_status"] or d["status"]
        table.add_row(d["due_at"][:19], amount, d["address"] or "", status, d["txid"] or "")
    context.out.print(table)


@app.command()
def cancel(typer_context: typer.Context, mix_id: MixId) -> None:
    """Give a mix up before its first part leaves."""
    _act(typer_context, mix_id, "cancellation")


@app.command()
def pause(typer_context: typer.Context, mix_id: MixId) -> None:
    """Let nothing leave until it is resumed."""
    _act(typer_context, mix_id, "pause")


@app.command()
def resume(typer_context: typer.Context, mix_id: MixId) -> None:
    """Let a paused mix go on."""
    _act(typer_context, mix_id, "resumption")


@app.command()
def hold(typer_context: typer.Context, mix_id: MixId, code: Code, note: Why) -> None:
    """Hold a mix: nothing leaves, or is given back (operators)."""
    _act(typer_context, mix_id, "hold", {"note": note}, code=code)


@app.command()
def release(
    typer_context: typer.Context,
    mix_id: MixId,
    code: Code,
    note: Why,
    gives_back: Annotated[
        bool, typer.Option("--give-back", help="What has not left is its user's balance.")
    ] = False,
) -> None:
    """Let a held mix go on, or give it back (operators)."""
    body = {"note": note, "gives_back": gives_back}
    _act(typer_context, mix_id, "hold/release", body, code=code)


@app.command()
def audit(typer_context: typer.Context, mix_id: MixId) -> None:
    """Open the audit trail of a mix (operators, auditors)."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get(f"/v1/mixes/{mix_id}/audit")
    if context.is_json:
        context.show(answer)
        return
    for line in answer["items"]:
        context.out.print(f"{line['at'][:19]} {line['what']} {json.dumps(line['data'])}")


def _change(typer_context: typer.Context, mixer_id: str, what: str, code: str) -> None:
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.send("POST", f"/v1/mixers/{mixer_id}/{what}", code=code)
    context.show(answer, f"{answer['id']} is {answer['status']}.")


def _act(
    typer_context: typer.Context,
    mix_id: str,
    what: str,
    body: Any = None,
    *,
    code: str | None = None,
) -> None:
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.send("POST", f"/v1/mixes/{mix_id}/{what}", body, code=code)
    context.show(answer, f"{answer['mix_id']} is {answer['status']}.")


def _all_decimals(api: ApiClient) -> dict[str, int]:
    return {e["code"]: int(e["decimals"]) for e in api.get("/v1/assets")["items"]}
