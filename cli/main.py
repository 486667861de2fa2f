"""The ``strongroom`` command. Data goes to stdout, everything else to stderr; exit 0, 1 or 2."""

import sys
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from cli import (
    admin,
    book,
    chain,
    cold,
    deposit,
    freeze,
    keys,
    kyc,
    ledger,
    limits,
    mixer,
    payout,
    pocket,
    purchase,
    quote,
    rates,
    run,
    screening,
    stack,
    transfer,
    user,
    webhook,
)
from cli.client import ApiProblem
from cli.context import Context, default_state_dir, local_api_url
from cli.jobcoin import app as jobcoin
from domain.errors import StrongroomError

app = typer.Typer(
    name="strongroom",
    help="A self-hosted wallet back end: every movement of money is a durable workflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("up")(stack.up)
app.command("demo")(stack.demo)
app.command("fund")(stack.fund)
app.add_typer(user.app, name="user")
app.add_typer(admin.app, name="admin")
app.add_typer(payout.app, name="payout")
app.add_typer(run.app, name="run")
app.add_typer(transfer.app, name="transfer")
app.add_typer(pocket.app, name="pocket")
app.add_typer(quote.app, name="quote")
app.add_typer(purchase.app, name="purchase")
app.add_typer(rates.app, name="rates")
app.add_typer(book.app, name="book")
app.add_typer(deposit.app, name="deposit")
app.add_typer(mixer.app, name="mixer")
app.add_typer(chain.app, name="chain")
app.add_typer(cold.app, name="cold")
app.add_typer(freeze.app, name="freeze")
app.add_typer(screening.app, name="screening")
app.add_typer(kyc.app, name="kyc")
app.add_typer(limits.app, name="limits")
app.add_typer(webhook.app, name="webhook")
app.add_typer(ledger.app, name="ledger")
app.add_typer(jobcoin.app, name="jobcoin")
app.add_typer(keys.app, name="keys")


@app.callback()
def options(
    typer_context: typer.Context,
    api: Annotated[
        str | None,
        typer.Option(
            help="The API's address; unset: the local stack's.", envvar="STRONGROOM_API_URL"
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Whose session to use.", envvar="STRONGROOM_PROFILE")
    ] = "default",
    state: Annotated[
        Path | None, typer.Option(help="Folder of the local stack, and of sessions.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Options that come before the command."""
    state_dir = state or default_state_dir()
    typer_context.obj = Context(
        api_url=api or local_api_url(state_dir),
        profile=profile,
        state_dir=state_dir,
        is_json=json,
        out=Console(),
        log=Console(stderr=True),
    )


def main() -> None:
    """Run the command and turn expected failures into one line and exit code 1."""
    log = Console(stderr=True)
    try:
        app()
    except ApiProblem as problem:
        log.print(f"{problem.code}: {problem.detail}", style="red", markup=False)
        for field, message in problem.fields:
            log.print(f"  {field}: {message}", markup=False)
        for number, code, detail in problem.lines:
            log.print(f"  line {number}: {code}: {detail}", markup=False)
        sys.exit(1)
    except StrongroomError as error:
        log.print(f"{error.code}: {error.detail}", style="red", markup=False)
        sys.exit(1)
    except httpx.HTTPError as error:
        log.print(f"The API does not answer: {error}", style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
