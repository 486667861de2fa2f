"""What never ends, started by whoever comes first: per chain, per hot wallet, and for the whole."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from sqlmodel import col, select
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from domain.errors import DatabaseUnavailableError
from domain.workflow_ids import (
    CARD_REVIEW_ID,
    MIXER_CHECK_ID,
    RATES_WORKFLOW_ID,
    WALLET_QUEUE,
    WEBHOOK_DISPATCHER_ID,
    batcher_workflow_id,
    sweep_workflow_id,
    watcher_workflow_id,
)
from infra.database import Database
from models.wallets import BlockchainWallet, Chain
from workflows.attributes import CHAIN_ID, attributes
from workflows.card_review import CardReviewWorkflow
from workflows.chain_watcher import ChainWatcherWorkflow, WatcherInput
from workflows.mixer_check import MixerCheckWorkflow
from workflows.payout_batcher import BatcherInput, PayoutBatcherWorkflow
from workflows.rates import RatesWorkflow
from workflows.sweep import SweepInput, SweepWorkflow
from workflows.webhook_dispatcher import WebhookDispatcherWorkflow

RETRY_S = 1.0

logger = logging.getLogger("worker")


async def known_chains(database: Database) -> Sequence[Chain]:
    """Return the chains of the catalog, waiting for the database and for the first of them."""
    while True:
        with contextlib.suppress(DatabaseUnavailableError):
            async with database.transaction() as session:
                if chains := (await session.exec(select(Chain))).all():
                    return chains
        logger.info("waiting for the database and for a chain in the catalog")
        await asyncio.sleep(RETRY_S)


async def hot_wallets(database: Database) -> Sequence[BlockchainWallet]:
    """Return the primary hot wallets, waiting until each chain has one: the signer makes them."""
    chains = await known_chains(database)
    while True:
        with contextlib.suppress(DatabaseUnavailableError):
            async with database.transaction() as session:
                found = await session.exec(
                    select(BlockchainWallet).where(col(BlockchainWallet.primary))
                )
                wallets = found.all()
            if {wallet.chain_id for wallet in wallets} >= {chain.id for chain in chains}:
                return wallets
        await asyncio.sleep(RETRY_S)


async def ensure_running(client: Client, database: Database, *, mixes: bool = False) -> None:
    """Start what never ends, unless it runs: for the whole, per chain, per hot wallet."""
    if mixes:
        await _until_started("mixers", partial(_start_mixer_check, client))
    await _until_started("the rates", partial(_start_rates, client))
    await _until_started("the review of card payments", partial(_start_review, client))
    await _until_started("webhooks", partial(_start_dispatcher, client))
    for wallet in await hot_wallets(database):
        await _until_started(wallet.chain_id, partial(_start_endless, client, wallet))


async def _until_started(what: str, start: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await start()
        except RPCError as error:
            logger.warning("cannot start the workflows of %s yet: %s", what, error)
            await asyncio.sleep(RETRY_S)
        else:
            break


async def _start_rates(client: Client) -> None:
    await client.start_workflow(
        RatesWorkflow.run,
        id=RATES_WORKFLOW_ID,
        task_queue=WALLET_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="keeps prices",
    )


async def _start_review(client: Client) -> None:
    await client.start_workflow(
        CardReviewWorkflow.run,
        id=CARD_REVIEW_ID,
        task_queue=WALLET_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="finds what no webhook told of card payments",
    )


async def _start_dispatcher(client: Client) -> None:
    await client.start_workflow(
        WebhookDispatcherWorkflow.run,
        id=WEBHOOK_DISPATCHER_ID,
        task_queue=WALLET_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="makes deliveries of events",
    )


async def _start_mixer_check(client: Client) -> None:
    await client.start_workflow(
        MixerCheckWorkflow.run,
        id=MIXER_CHECK_ID,
        task_queue=WALLET_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="compares the books of mixers",
    )


async def _start_endless(client: Client, wallet: BlockchainWallet) -> None:
    await client.start_workflow(
        ChainWatcherWorkflow.run,
        WatcherInput(wallet.chain_id),
        id=watcher_workflow_id(wallet.chain_id),
        task_queue=WALLET_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=attributes({CHAIN_ID: wallet.chain_id}),
    )
    await client.start_workflow(
        SweepWorkflow.run,
        SweepInput(wallet.chain_id),
        id=sweep_workflow_id(wallet.chain_id),
        task_queue=WALLET_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=attributes({CHAIN_ID: wallet.chain_id}),
    )
    await client.start_workflow(
        PayoutBatcherWorkflow.run,
        BatcherInput(wallet.chain_id, wallet.address),
        id=batcher_workflow_id(wallet.chain_id, wallet.address),
        task_queue=WALLET_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=attributes({CHAIN_ID: wallet.chain_id}),
    )
