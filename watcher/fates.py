"""
The fate of our own chain transactions: mined, deep enough, orphaned, offered again.

What a block did for us is asked of the node on account chains, where a transaction can be mined and
do nothing. On UTXO chains a mined transaction did what it says, and we know what it says.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, Protocol

from sqlalchemy import ColumnElement, String, column, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import InvariantError, StrongroomError
from domain.ports import AccountOutlet, ChainOutlet, Receipt, Transfer
from domain.scanning import ScannedBlock
from infra.database import Database
from models.chain_transactions import (
    SETTLEABLE,
    UNCLEAR_RECEIPT,
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


logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Which block holds it."""

    height: int
    hash: str


@dataclass(frozen=True, slots=True)
class Ours:
    """A transaction of ours that a block holds."""

    row: ChainTransaction
    attempt: ChainAttempt
    transfer: Transfer
    block: Place


class FateReader(Protocol):
    """What a chain family needs to know what a mined transaction of ours did."""

    async def receipt(self, ours: Ours) -> Receipt | None:
        """
        Return what it did; None when the node no longer has it in a block.

        Raises:
            InvariantError: What the node says of it does not fit together.
        """
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
    holders = {txid: Place(block.height, block.hash) for block in blocks for txid in block.txids}
    if not holders:
        return []
    of_blocks = col(ChainAttempt.txid) == _MINED.c.txid
    known = await _known(session, chain_id, of_blocks, txids="{" + ",".join(holders) + "}")
    return await _placed(session, known, holders)


async def unclear(session: AsyncSession, chain_id: str) -> list[Ours]:
    """Return our mined transactions of which nobody could tell what they did, in order of id."""
    known = await _known(
        session,
        chain_id,
        col(ChainTransaction.status) == ChainTransactionStatus.MINED,
        col(ChainTransaction.reason_code) == UNCLEAR_RECEIPT,
        col(ChainAttempt.txid) == col(ChainTransaction.txid),
    )
    places = {
        str(row.txid): Place(row.block_height, row.block_hash)
        for row, _, _ in known
        if row.block_height is not None and row.block_hash is not None
    }
    return await _placed(session, known, places)


async def _known(
    session: AsyncSession, chain_id: str, *conditions: ColumnElement[bool], **params: str
) -> Sequence[tuple[ChainTransaction, ChainAttempt, str | None]]:
    found = await session.exec(
        select(ChainTransaction, ChainAttempt, Asset.contract_address)
        .join(ChainAttempt, col(ChainAttempt.chain_transaction_id) == col(ChainTransaction.id))
        .join(Asset, col(Asset.code) == col(ChainTransaction.asset))
        .where(ChainTransaction.chain_id == chain_id, *conditions)
        .order_by(col(ChainTransaction.id)),
        params=params,
    )
    return found.all()


async def _placed(
    session: AsyncSession,
    known: Sequence[tuple[ChainTransaction, ChainAttempt, str | None]],
    places: Mapping[str, Place],
) -> list[Ours]:
    transfers = await transfers_of(session, [(row, contract) for row, _, contract in known])
    return [
        Ours(row, attempt, transfers[row.id], places[str(attempt.txid)])
        for row, attempt, _ in known
    ]


async def receipts_of(
    fates: FateReader, ours: Sequence[Ours]
) -> list[Receipt | InvariantError] | None:
    """
    Return a receipt for each, or why there can be none.

    None when the node no longer stands by one of the blocks. What one transaction did may be
    beyond us; that must not keep the chain's deposits and everybody else's payouts waiting.
    """
    gate = asyncio.Semaphore(RECEIPTS_AT_ONCE)

    async def one(each: Ours) -> Receipt | InvariantError | None:
        async with gate:
            try:
                return await fates.receipt(each)
            except InvariantError as error:
                logger.critical("nobody can tell what %s did: %s", each.row.id, error.detail)
                return error

    receipts: list[Receipt | InvariantError] = []
    for each, receipt in zip(ours, await asyncio.gather(*map(one, ours)), strict=True):
        if receipt is None:
            return None
        if isinstance(receipt, Receipt) and receipt.block_hash != each.block.hash:
            return None
        receipts.append(receipt)
    return receipts


async def mine(
    session: AsyncSession,
    ours: Sequence[Ours],
    receipts: Sequence[Receipt | InvariantError],
    *,
    clock: Clock,
) -> None:
    """Write what the blocks did for us."""
    for each, receipt in zip(ours, receipts, strict=True):
        row = await session.get_one(ChainTransaction, each.row.id, with_for_update=True)
        row.status = ChainTransactionStatus.MINED
        row.txid = each.attempt.txid
        row.block_height, row.block_hash = each.block
        row.updated_at = clock.now()
        if isinstance(receipt, InvariantError):
            row.reason_code = UNCLEAR_RECEIPT
            continue
        row.network_fee_minor = receipt.network_fee_minor
        row.outflow_minor = receipt.outflow_minor
        row.received_minor = receipt.received_minor
        row.failed_places = list(receipt.failed_places) or None
        row.reason_code = None if receipt.succeeded else REVERTED_ON_CHAIN


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

    With it comes what can never be mined any more, and is given up. Of what nobody can tell what it
    did, nothing is booked and nobody refunded: it stays mined.
    """
    rows = await session.exec(
        select(ChainTransaction)
        .where(
            ChainTransaction.chain_id == chain_id,
            ChainTransaction.status == ChainTransactionStatus.MINED,
            col(ChainTransaction.block_height) <= settled_height,
            col(ChainTransaction.reason_code).is_distinct_from(UNCLEAR_RECEIPT),
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
