"""``strongroom keys``: make keys, and seal the wallets' keys anew."""

import asyncio
from typing import Annotated

import typer

from cli.context import Context, context_of
from infra.database import Database
from infra.keyring import Keyring, generate_key
from signing.vault import KeyVault

app = typer.Typer(help="Encryption keys.", no_args_is_help=True)


@app.command()
def generate(
    typer_context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="A new id, such as wallet-2026-11.")],
) -> None:
    """Print a new key in the form that the settings take: id:base64. Put it first, keep the old."""
    value = f"{key_id}:{generate_key()}"
    context_of(typer_context).show({"key": value}, value)


@app.command()
def rotate(typer_context: typer.Context) -> None:
    """
    Seal every wallet key under the first key of STRONGROOM_WALLET_KEYS.

    Runs where the signer runs, with its environment; or on a local stack's state folder.
    """
    context = context_of(typer_context)
    count = asyncio.run(_rotate(context))
    context.show({"resealed": count}, f"{count} wallet keys sealed anew.")


async def _rotate(context: Context) -> int:
    database = Database(context.signer_database_url())
    vault = KeyVault(database, Keyring.parse(context.wallet_keys()))
    count = await vault.rotate()
    await database.close()
    return count
