"""
The fate of our own chain transactions: mined, deep enough, orphaned, offered again.

What a block did for us is asked of the node on account chains, where a transaction can be mined and
do nothing. On UTXO chains a mined transaction did what it says, and we know what it says.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from sqlalchemy import String, column, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import StrongroomError
from domain.ports import AccountOutlet, ChainOutlet, Receipt, Transfer
from domain.scanning import ScannedBlock
from infra.database import Database
from models.chain_transactions import (
    SETTLEABLE,
    ChainAttempt,
    ChainTransaction,
    ChainTransactionStatus,
)
from models.wallets import Asset
from outgoing.records import signed_attempts, transfers_of
from outgoing.settlement import REVERTED_ON_CHAIN
from outgoing.voids import give_up_void

REBROADCAST_AFTER = timedelta(seconds=10)
"""A broadcast transaction that no block took is offered to the node again this often."""

RECEIPTS_AT_ONCE = 8
ON_CHAIN = (ChainTransactionStatus.MINED, *SETTLEABLE)

_MINED = (
    text("SELECT txid FROM unnest(CAST(:txids AS text[])) AS txid")
    .columns(column("txid", String))
    .subquery("mined")
)
"""Given as one literal: a list would be written, and joined, far slower."""


@dataclass(frozen=True, slots=True)
class Ours:
    """A transaction of ours that a block holds."""

    row: ChainTransaction
    attempt: ChainAttempt
    transfer: Transfer
    block: ScannedBlock


class FateReader(Protocol):
    """What a chain family needs to know what a mined transaction of ours did."""

    async def receipt(self, ours: Ours) -> Receipt | None:
        """Return what it did; None when the node no longer has it in a block."""
        ...


class AccountFates:
    """Asks the node: a transaction can be mined and fail, or move something else."""

    def __init__(self, outlet: AccountOutlet) -> None:
        """Take the chain's outlet."""
        self._outlet = outlet

    async def receipt(self, ours: Ours) -> Receipt | None:
        """Return the node's receipt, read as the transfer that we meant."""
        return await self._outlet.receipt(str(ours.attempt.txid), ours.transfer)


class CoinFates:
    """Needs no node: inputs and outputs are what was signed."""

    async def receipt(self, ours: Ours) -> Receipt | None:
        """Return what the signed transaction does wherever it is mined."""
        return Receipt(
            txid=str(ours.attempt.txid),
            block_height=ours.block.height,
            block_hash=ours.block.hash,
            succeeded=True,
            network_fee_minor=ours.attempt.fee_minor or 0,
            outflow_minor=ours.row.amount_minor,
            received_minor=ours.row.amount_minor,
        )


async def ours_in(
    session: AsyncSession, chain_id: str, blocks: Sequence[ScannedBlock]
) -> list[Ours]:
    """Return our transactions that these blocks hold, in order of id."""
    holders = {txid: block for block in blocks for txid in block.txids}
    if not holders:
        return []
    found = await session.exec(
        select(ChainTransaction, ChainAttempt, Asset.contract_address)
        .join(ChainAttempt, col(ChainAttempt.chain_transaction_id) == col(ChainTransaction.id))
        .join(Asset, col(Asset.code) == col(ChainTransaction.asset))
        .join(_MINED, col(ChainAttempt.txid) == _MINED.c.txid)
        .where(ChainTransaction.chain_id == chain_id)
        .order_by(col(ChainTransaction.id)),
        params={"txids": "{" + ",".join(holders) + "}"},
    )
    known = list(found)
    transfers = await transfers_of(session, [(row, contract) for row, _, contract in known])
    return [
        Ours(row, attempt, transfers[row.id], holders[str(attempt.txid)])
        for row, attempt, _ in known
    ]


async def receipts_of(fates: FateReader, ours: Sequence[Ours]) -> list[Receipt] | None:
    """Return a receipt for each; None when the node no longer stands by one of the blocks."""
    gate = asyncio.Semaphore(RECEIPTS_AT_ONCE)

    async def one(each: Ours) -> Receipt | None:
        async with gate:
            return await fates.receipt(each)

    receipts: list[Receipt] = []
    for each, receipt in zip(ours, await asyncio.gather(*map(one, ours)), strict=True):
        if receipt is None or receipt.block_hash != each.block.hash:
            return None
        receipts.append(receipt)
    return receipts


async def mine(
    session: AsyncSession, ours: Sequence[Ours], receipts: Sequence[Receipt], *, clock: Clock
) -> None:
    """Write what the blocks did for us."""
    for each, receipt in zip(ours, receipts, strict=True):
        row = await session.get_one(ChainTransaction, each.row.id, with_for_update=True)
        row.status = ChainTransactionStatus.MINED
        row.txid = receipt.txid
        row.block_height = receipt.block_height
        row.block_hash = receipt.block_hash
        row.network_fee_minor = receipt.network_fee_minor
        row.outflow_minor = receipt.outflow_minor
        row.received_minor = receipt.received_minor
        row.failed_places = list(receipt.failed_places) or None
        row.reason_code = None if receipt.succeeded else REVERTED_ON_CHAIN
        row.updated_at = clock.now()


async def unmine(
    session: AsyncSession, chain_id: str, block_hash: str, *, clock: Clock
) -> set[str]:
    """Take back what a block that left the chain did for us; return the batches it concerns."""
    found = await session.exec(
        select(ChainTransaction)
        .where(
            ChainTransaction.chain_id == chain_id,
            ChainTransaction.block_hash == block_hash,
            col(ChainTransaction.status).in_(ON_CHAIN),
        )
        .order_by(col(ChainTransaction.id))
        .with_for_update()
    )
    batches: set[str] = set()
    for row in found:
        row.status = ChainTransactionStatus.BROADCAST
        row.txid = row.block_hash = row.block_height = row.reason_code = row.failed_places = None
        row.updated_at = clock.now()
        batches.add(row.batch_id)
    return batches


async def confirm(
    session: AsyncSession, chain_id: str, settled_height: int, *, clock: Clock
) -> list[ChainTransaction]:
    """
    Mark what is mined at this height or below as confirmed or reverted, and return it.

    With it comes what can never be mined any more, and is given up.
    """
    rows = await session.exec(
        select(ChainTransaction)
        .where(
            ChainTransaction.chain_id == chain_id,
            ChainTransaction.status == ChainTransactionStatus.MINED,
            col(ChainTransaction.block_height) <= settled_height,
        )
        .order_by(col(ChainTransaction.id))
        .with_for_update()
    )
    deep = list(rows)
    for row in deep:
        is_paid = row.reason_code is None
        row.status = (
            ChainTransactionStatus.CONFIRMED if is_paid else ChainTransactionStatus.REVERTED
        )
        row.updated_at = clock.now()
    return deep + await give_up_void(session, chain_id, clock=clock)


class Rebroadcaster:
    """Offers what no block took to the node again: it may have restarted, or lost a reorg."""

    def __init__(self, database: Database, outlet: ChainOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock

    async def run(self) -> None:
        """Offer each transaction whose last offer is long ago, in order of account nonce."""
        overdue = self._clock.now() - REBROADCAST_AFTER
        async with self._database.transaction() as session:
            rows = await session.exec(
                select(ChainTransaction.id)
                .where(
                    ChainTransaction.chain_id == self._outlet.chain_id,
                    ChainTransaction.status == ChainTransactionStatus.BROADCAST,
                )
                .order_by(col(ChainTransaction.account_nonce))
            )
            attempts = await signed_attempts(session, list(rows))
        stale = [a for a in attempts.values() if a.broadcast_at is None or a.broadcast_at < overdue]
        for attempt in sorted(stale, key=lambda a: a.chain_transaction_id):
            await self._offer(attempt)

    async def _offer(self, attempt: ChainAttempt) -> None:
        error_code = None
        try:
            await self._outlet.broadcast(attempt.raw or b"")
        except StrongroomError as error:
            error_code = error.code
        async with self._database.transaction() as session:
            await session.execute(
                update(ChainAttempt)
                .where(col(ChainAttempt.id) == attempt.id)
                .values(broadcast_at=self._clock.now(), last_error=error_code)
            )
