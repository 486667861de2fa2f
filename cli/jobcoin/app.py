"""The commands below ``strongroom jobcoin``; without one of them, the shell."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer

from chains.jobcoin.node.service import serve
from cli.client import ApiClient
from cli.context import PROFILE_FOLDER, Context, context_of
from cli.jobcoin.commands import Answer, JobcoinCommands
from cli.jobcoin.purse import Purse
from cli.jobcoin.shell import JobcoinShell, remember_lines
from devnet.ports import LOOPBACK
from infra.processes import run_and_exit
from infra.settings import JobcoinSettings

PURSE_FILE, HISTORY_FILE = "jobcoin-keys.json", "jobcoin-history"

app = typer.Typer(help="A Jobcoin network: its node, your keys, and a shell.")

Address = Annotated[str, typer.Argument(help="An address, or the name of a key of yours.")]
NodeUrl = Annotated[
    str | None,
    typer.Option(
        "--node",
        help="The node's address; unset: the local stack's.",
        envvar="STRONGROOM_JOBCOIN_URL",
    ),
]


@app.callback(invoke_without_command=True)
def shell(typer_context: typer.Context, node: NodeUrl = None) -> None:
    """Talk to a Jobcoin network; without a command, in a shell until a blank line."""
    context = context_of(typer_context)
    context.jobcoin_url = node
    if typer_context.invoked_subcommand is not None:
        return
    with _commands(context) as commands:
        opened = JobcoinShell(commands, context.out, context.log, is_json=context.is_json)
        remember_lines(context.state_dir / PROFILE_FOLDER / HISTORY_FILE, list(opened.commands))
        opened.run()


@app.command("node")
def run_node() -> None:
    """Run a node: it keeps the chain, answers over HTTP, and makes a block every few seconds."""
    run_and_exit(partial(serve, JobcoinSettings()))


@app.command()
def status(typer_context: typer.Context) -> None:
    """Show the network, its newest block, and how many coins there are."""
    with _commands(context_of(typer_context)) as commands:
        _show(typer_context, commands.status())


@app.command("new-address")
def new_address(
    typer_context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="What to call it.")] = None,
) -> None:
    """Make a key in your purse, and show its address."""
    with _commands(context_of(typer_context)) as commands:
        _show(typer_context, commands.new_address(name))


@app.command()
def addresses(typer_context: typer.Context) -> None:
    """List your addresses with what they have."""
    with _commands(context_of(typer_context)) as commands:
        _show(typer_context, commands.addresses())


@app.command()
def balance(typer_context: typer.Context, address: Address) -> None:
    """Show what an address has."""
    with _commands(context_of(typer_context)) as commands:
        _show(typer_context, commands.balance(address))


@app.command("get-transactions")
def get_transactions(
    typer_context: typer.Context,
    address: Annotated[
        str | None, typer.Argument(help="An address, or the name of a key; unset: all.")
    ] = None,
) -> None:
    """List transactions, the newest first."""
    with _commands(context_of(typer_context)) as commands:
        _show(typer_context, commands.transactions(address))


@app.command()
def send(
    typer_context: typer.Context,
    sender: Address,
    payments: Annotated[
        list[str], typer.Argument(help="To whom and how much, in whole coins; then others.")
    ],
) -> None:
    """Send coins of yours to one or several, with one transaction."""
    with _commands(context_of(typer_context)) as commands:
        _show(typer_context, commands.send(sender, payments))


@app.command()
def mint(
    typer_context: typer.Context,
    address: Address,
    amount: Annotated[str, typer.Argument(help="In whole coins.")],
    reference: Annotated[
        str | None, typer.Option(help="Asked again with the same, the same coins are meant.")
    ] = None,
) -> None:
    """Make coins, up to the cap; for whoever holds the node's token."""
    with _commands(context_of(typer_context)) as commands:
        _show(typer_context, commands.mint(address, amount, reference=reference))


@app.command("add-addresses")
def add_addresses(
    typer_context: typer.Context,
    addresses: Annotated[list[str], typer.Argument(help="New ones that nobody has used.")],
) -> None:
    """Have a mixer pay out to these addresses; shows the address to pay to."""
    with _commands(context_of(typer_context)) as commands:
        _show(typer_context, commands.add_addresses(addresses))


@contextmanager
def _commands(context: Context) -> Iterator[JobcoinCommands]:
    url = context.jobcoin_url or f"http://{LOOPBACK}:{context.local_ports().jobcoin}"
    purse = Purse(context.state_dir / PROFILE_FOLDER / PURSE_FILE)
    with ApiClient(url, token=context.jobcoin_mint_token()) as node:
        yield JobcoinCommands(node, purse, context.open_api, _ask_code)


def _ask_code() -> str:
    return os.environ.get("STRONGROOM_TOTP_CODE") or typer.prompt("One-time code", err=True)


def _show(typer_context: typer.Context, answer: Answer) -> None:
    context = context_of(typer_context)
    if context.is_json:
        context.show(answer.data)
    else:
        context.out.print(answer.shown, highlight=False)
