"""``strongroom cold``: wallets whose keys are elsewhere, by PSBT (BIP174). For UTXO chains."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.context import Context, context_of
from domain.clock import SystemClock
from domain.errors import ValidationError
from infra.database import Database
from signing.cold import ColdDesk

app = typer.Typer(
    help="Wallets whose keys are elsewhere. Runs with the signer's database role.",
    no_args_is_help=True,
)

AttemptId = Annotated[str, typer.Argument(help="att_…, as strongroom cold list shows it.")]


@app.command()
def add(
    typer_context: typer.Context,
    chain_id: Annotated[str, typer.Argument(help="CAIP-2, such as bip122:….")],
    xpub: Annotated[str, typer.Argument(help="The account's extended public key (BIP84).")],
    fingerprint: Annotated[str, typer.Argument(help="Of the master key, 8 hex digits.")],
) -> None:
    """Let a chain's keys stay elsewhere; before the signer first serves this chain."""
    context = context_of(typer_context)
    _run(context, lambda desk: desk.add_account(chain_id, xpub, fingerprint))
    context.show({"chain_id": chain_id}, f"{chain_id} is signed for elsewhere.")


@app.command("list")
def list_tasks(typer_context: typer.Context) -> None:
    """List transactions that wait for a signature from elsewhere."""
    context = context_of(typer_context)
    tasks = _run(context, lambda desk: desk.tasks())
    if context.is_json:
        context.show([asdict(task) for task in tasks])
        return
    table = Table()
    for heading in ("attempt", "chain", "kind", "amount", "fee", "exported"):
        table.add_column(heading, overflow="fold")
    for task in tasks:
        amount = f"{task.amount_minor} {task.asset}"
        exported = "yes" if task.is_exported else "no"
        row = (task.attempt_id, task.chain_id, task.kind, amount, str(task.fee_minor), exported)
        table.add_row(*row)
    context.out.print(table)


@app.command()
def export(
    typer_context: typer.Context,
    attempt_id: AttemptId,
    output: Annotated[
        Path | None, typer.Option(help="File to write, binary; without: base64 to stdout.")
    ] = None,
) -> None:
    """Write the unsigned PSBT of a waiting transaction; from then on it counts as signed."""
    context = context_of(typer_context)
    psbt = _run(context, lambda desk: desk.export(attempt_id))
    if output is not None:
        output.write_bytes(psbt)
        context.log.print(f"{output} written", markup=False)
        return
    encoded = base64.b64encode(psbt).decode()
    context.show({"attempt_id": attempt_id, "psbt": encoded}, encoded)


@app.command("import")
def take_back(
    typer_context: typer.Context,
    attempt_id: AttemptId,
    signed: Annotated[Path, typer.Argument(help="The signed PSBT, binary or base64.")],
) -> None:
    """Take a signed PSBT back; the transaction is broadcast by its workflow."""
    context = context_of(typer_context)
    psbt = _decoded(signed.read_bytes())
    txid = _run(context, lambda desk: desk.take_back(attempt_id, psbt))
    context.show({"txid": txid}, f"Stored as {txid}; it is broadcast within half a minute.")


def _run[Answer](context: Context, step: Callable[[ColdDesk], Awaitable[Answer]]) -> Answer:
    async def work() -> Answer:
        database = Database(context.signer_database_url())
        try:
            return await step(ColdDesk(database, SystemClock()))
        finally:
            await database.close()

    return asyncio.run(work())


def _decoded(content: bytes) -> bytes:
    if content.startswith(b"psbt\xff"):
        return content
    try:
        return base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        msg = "The file holds no PSBT, neither binary nor base64."
        raise ValidationError(msg) from None
