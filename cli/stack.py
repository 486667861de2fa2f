"""``strongroom up``, ``demo`` and ``fund``: the local stack. None of it is for production."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.context import context_of
from devnet.bootstrap import fill
from devnet.demo import run_demo
from devnet.errors import StackError
from devnet.funding import fund as send_funds
from devnet.ports import Ports
from devnet.site import Site
from devnet.up import UpOptions, run_up
from domain.money import parse_units
from infra.processes import run_and_exit

ApiPort = Annotated[int, typer.Option(help="Port of the API.")]
PostgresPort = Annotated[int, typer.Option(help="Port of PostgreSQL.")]
TemporalPort = Annotated[int, typer.Option(help="Port of Temporal.")]
TemporalUiPort = Annotated[int, typer.Option(help="Port of the Temporal UI.")]
EvmPort = Annotated[int, typer.Option(help="Port of the EVM node.")]
BitcoinPort = Annotated[int, typer.Option(help="Port of the Bitcoin node.")]
JobcoinPort = Annotated[int, typer.Option(help="Port of the Jobcoin node.")]
StripePort = Annotated[int, typer.Option(help="Port of the Stripe-like server.")]
RatesPort = Annotated[int, typer.Option(help="Port of the server of market prices.")]
MetricsPort = Annotated[int, typer.Option(help="First port of the workers' metrics.")]


def up(
    typer_context: typer.Context,
    api_port: ApiPort = Ports().api,
    postgres_port: PostgresPort = Ports().postgres,
    temporal_port: TemporalPort = Ports().temporal,
    temporal_ui_port: TemporalUiPort = Ports().temporal_ui,
    evm_port: EvmPort = Ports().evm,
    bitcoin_port: BitcoinPort = Ports().bitcoin,
    jobcoin_port: JobcoinPort = Ports().jobcoin,
    stripe_port: StripePort = Ports().stripe,
    rates_port: RatesPort = Ports().rates,
    metrics_port: MetricsPort = Ports().metrics,
    workers: Annotated[int, typer.Option(min=1, max=7, help="Worker processes.")] = 1,
    block_time: Annotated[str, typer.Option(help="Seconds per block of the chains.")] = "3",
    mixing: Annotated[
        bool, typer.Option("--mixing", help="Switch mixing on, with mixers.")
    ] = False,
) -> None:
    """Start PostgreSQL, Temporal, the chains' nodes, workers, signer and API; Ctrl-C stops."""
    ports = Ports(
        api=api_port,
        postgres=postgres_port,
        temporal=temporal_port,
        temporal_ui=temporal_ui_port,
        evm=evm_port,
        bitcoin=bitcoin_port,
        jobcoin=jobcoin_port,
        stripe=stripe_port,
        rates=rates_port,
        metrics=metrics_port,
    )
    options = UpOptions(
        state_dir=context_of(typer_context).state_dir,
        ports=ports,
        workers=(None,) * workers,
        block_time_s=block_time,
        mixing=mixing,
        prepare=fill,
    )
    run_and_exit(partial(run_up, options, console=Console(stderr=True)))


def demo(
    typer_context: typer.Context,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")
    ] = False,
    state: Annotated[
        Path | None, typer.Option(help="Folder of the demo's own stack; it is emptied first.")
    ] = None,
) -> None:
    """Receive, pay out and mix while processes are killed; compare books and chains."""
    folder = state or context_of(typer_context).state_dir / "demo"
    run_and_exit(partial(run_demo, folder, keep=keep, out=Console()))


def fund(
    typer_context: typer.Context,
    asset: Annotated[str, typer.Argument(help="ETH, TUSD, BTC or JOB.")],
    amount: Annotated[str, typer.Argument(help="In whole units.")],
    user: Annotated[
        str | None, typer.Option(help="User id to credit; without: the operator's capital.")
    ] = None,
    decimals: Annotated[int, typer.Option(help="The asset's decimals.")] = 18,
) -> None:
    """Send development coins to the hot wallet and credit a user. Never in production."""
    context = context_of(typer_context)
    amount_minor = parse_units(amount, decimals=decimals)
    site: Site = context.local_site()
    try:
        txid = asyncio.run(send_funds(site, asset_code=asset, shares={user: amount_minor}))
    except StackError as error:
        context.log.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    context.show({"txid": txid}, f"{amount} {asset} arrived in {txid}.")
