"""``strongroom admin``: admins, the catalog, the policy. Needs the schema owner's database."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from cli.context import Context, context_of
from domain.errors import ValidationError
from identity.services import open_identity
from infra.database import Database
from infra.keyring import Keyring, generate_key
from models.identity import Role, User
from payouts.catalog import Catalog, apply_catalog

app = typer.Typer(help="Admins, catalog and policy.", no_args_is_help=True)

Password = Annotated[
    str, typer.Option(prompt=True, hide_input=True, envvar="STRONGROOM_PASSWORD", help="Password.")
]


@app.command()
def create(
    typer_context: typer.Context,
    email: Annotated[str, typer.Argument(help="The admin's email.")],
    password: Password,
    role: Annotated[list[Role], typer.Option(help="May be repeated.")],
) -> None:
    """Create a user with roles: how the first owner comes to be."""
    context = context_of(typer_context)
    user = asyncio.run(_create(context, email, password, role))
    roles = ", ".join(user.roles)
    context.show({"id": user.id, "email": user.email, "roles": user.roles}, f"{user.id}: {roles}")


@app.command()
def roles(
    typer_context: typer.Context,
    user_id: Annotated[str, typer.Argument(help="usr_…")],
    code: Annotated[str, typer.Option(prompt="One-time code", help="One-time code.")],
    role: Annotated[
        list[Role] | None, typer.Option(help="May be repeated; none takes all.")
    ] = None,
) -> None:
    """Set a user's roles (owners)."""
    context = context_of(typer_context)
    with context.api() as api:
        body = {"roles": [str(r) for r in role or []]}
        answer = api.send("PUT", f"/v1/admins/{user_id}/roles", body, code=code)
    context.show(answer)


@app.command()
def policy(
    typer_context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A policy document; without: show it.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="One-time code, to put a new one.")] = None,
) -> None:
    """Show the approval policy, or put a new one in force (owners)."""
    context = context_of(typer_context)
    with context.api() as api:
        if file is None:
            context.show(api.get("/v1/policy"))
            return
        answer = api.send("PUT", "/v1/policy", json.loads(file.read_text()), code=code)
    context.show(answer, f"Policy version {answer['version']} is in force.")


@app.command()
def catalog(
    typer_context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON with chains and assets; see the docs.")],
) -> None:
    """Add or update chains and assets."""
    context = context_of(typer_context)
    try:
        wanted = Catalog.model_validate_json(file.read_text())
    except ValueError as error:
        raise ValidationError(str(error)) from error
    asyncio.run(_apply(context, wanted))
    summary = {"chains": len(wanted.chains), "assets": len(wanted.assets)}
    context.show(summary, f"{len(wanted.chains)} chains and {len(wanted.assets)} assets applied.")


async def _create(context: Context, email: str, password: str, role: list[Role]) -> User:
    database = Database(context.owner_database_url())
    # No TOTP secret is touched here, so any keyring will do.
    identity = open_identity(database, Keyring.parse(f"none:{generate_key()}"))
    user = await identity.accounts.create_admin(email, password, role)
    await database.close()
    return user


async def _apply(context: Context, wanted: Catalog) -> None:
    database = Database(context.owner_database_url())
    async with database.transaction() as session:
        await apply_catalog(session, wanted)
    await database.close()
