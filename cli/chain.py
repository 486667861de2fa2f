"""``strongroom chain``: what was seen of each chain, and reading it again."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.context import context_of

app = typer.Typer(help="Chains: how far they were read, rescans and sweeps.", no_args_is_help=True)

ChainId = Annotated[str, typer.Argument(help="CAIP-2, such as eip155:1.")]
Height = Annotated[int, typer.Argument(min=0, help="A block's height; the block is included.")]
Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]


@app.command("list")
def list_chains(typer_context: typer.Context) -> None:
    """List every chain with how far it was read."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get("/v1/chains")
    if context.is_json:
        context.show(answer)
        return
    table = Table()
    for heading in ("chain", "name", "height", "lag", "fee rate", "seen"):
        table.add_column(heading)
    for c in answer["items"]:
        seen = (c["seen_at"] or "never")[:19]
        table.add_row(c["id"], c["name"], _text(c["height"]), _text(c["lag_blocks"]), _fee(c), seen)
    context.out.print(table)


@app.command()
def status(typer_context: typer.Context, chain_id: ChainId) -> None:
    """Show one chain: height, lag, finality, last reorg, fee rate, open rescans."""
    context = context_of(typer_context)
    with context.api() as api:
        chain = api.get(f"/v1/chains/{chain_id}")
    policy = chain["confirmations"]
    lines = (
        f"{chain['name']} ({chain['id']})",
        f"read to block {_text(chain['height'])} of {_text(chain['tip_height'])}",
        f"lag {_text(chain['lag_blocks'])} blocks, seen {chain['seen_at'] or 'never'}",
        f"finalized {_text(chain['finalized_height'])}",
        f"last reorg {_reorg(chain)}",
        f"fee rate {_fee(chain)}",
        f"{policy['minimum']} confirmations, by {policy['finality']}",
        f"{chain['open_rescans']} open rescans",
    )
    context.show(chain, "\n".join(lines))


@app.command()
def rescan(
    typer_context: typer.Context,
    chain_id: ChainId,
    from_height: Height,
    to_height: Height,
    code: Code,
) -> None:
    """Have blocks read again that were read before, for deposits nobody recorded (operators)."""
    context = context_of(typer_context)
    body = {"from_height": from_height, "to_height": to_height}
    with context.api() as api:
        answer = api.send("POST", f"/v1/chains/{chain_id}/rescans", body, code=code)
    progress = f"{answer['blocks_done']} of {answer['blocks_total']} blocks read"
    context.show(answer, f"{answer['id']}: {progress}, {answer['found']} deposits found.")


@app.command()
def sweep(typer_context: typer.Context, chain_id: ChainId, code: Code) -> None:
    """Collect deposits into the hot wallet now, even small ones (operators)."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.send("POST", f"/v1/chains/{chain_id}/sweeps", None, code=code)
    context.show(answer, f"Asked for a sweep of {chain_id}; see strongroom chain sweeps.")


@app.command()
def sweeps(
    typer_context: typer.Context,
    chain_id: ChainId,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many at most.")] = 20,
) -> None:
    """List sweeps and gas top-ups of a chain, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get(f"/v1/chains/{chain_id}/sweeps", limit=limit)
    if context.is_json:
        context.show(answer)
        return
    table = Table()
    for heading in ("sweep", "kind", "amount", "status", "txid"):
        table.add_column(heading, overflow="fold")
    for s in answer["items"]:
        amount = f"{s['amount']} {s['asset']}"
        table.add_row(s["id"], s["kind"], amount, s["status"], s["txid"] or "-")
    context.out.print(table)


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _fee(chain: Mapping[str, Any]) -> str:
    rate = chain["fee_rate"]
    return "-" if rate is None else f"{rate['amount']} {rate['unit']}"


def _reorg(chain: Mapping[str, Any]) -> str:
    reorg = chain["last_reorg"]
    return "never" if reorg is None else f"{reorg['at']}, {reorg['depth']} blocks"
