"""What every sweep writes: a batch of its own, and the deposits that it takes along."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.ids import CHAIN_BATCH, CHAIN_TRANSACTION, derived_id
from models.chain_transactions import (
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.deposits import ChainDeposit
from models.wallets import BlockchainWallet
from outgoing.records import OPEN

OURS = (ChainTransactionKind.SWEEP, ChainTransactionKind.GAS_TOPUP)


async def add_batch(
    session: AsyncSession, chain_id: str, wallet_address: str, key: str, *, clock: Clock
) -> ChainBatch:
    """Add a batch; ``key`` says what for, so that nothing is swept twice at once."""
    batch = ChainBatch(
        id=derived_id(CHAIN_BATCH, key),
        claim_key=key,
        chain_id=chain_id,
        wallet_address=wallet_address,
        created_at=clock.now(),
    )
    session.add(batch)
    await session.flush()
    return batch


async def add_transaction(
    session: AsyncSession,
    batch: ChainBatch,
    kind: ChainTransactionKind,
    *,
    asset: str,
    destination: str,
    amount_minor: int,
) -> ChainTransaction:
    """Add what the batch is to move between our own addresses."""
    row = ChainTransaction(
        id=derived_id(CHAIN_TRANSACTION, batch.id, destination, asset),
        batch_id=batch.id,
        chain_id=batch.chain_id,
        wallet_address=batch.wallet_address,
        kind=kind,
        asset=asset,
        destination=destination,
        amount_minor=amount_minor,
        status=ChainTransactionStatus.PLANNED,
    )
    session.add(row)
    await session.flush()
    return row


async def take_along(
    session: AsyncSession, row: ChainTransaction, deposit_ids: Sequence[str]
) -> None:
    """Mark which deposits a sweep moves."""
    await session.execute(
        update(ChainDeposit).where(col(ChainDeposit.id).in_(deposit_ids)).values(swept_by=row.id)
    )


async def open_batches(session: AsyncSession, chain_id: str) -> list[str]:
    """Return the batches of sweeps that are on their way, whether or not a workflow drives them."""
    found = await session.exec(
        select(ChainTransaction.batch_id)
        .where(
            ChainTransaction.chain_id == chain_id,
            col(ChainTransaction.kind).in_(OURS),
            col(ChainTransaction.status).in_(OPEN),
        )
        .distinct()
    )
    return sorted(found)


async def hot_address(session: AsyncSession, chain_id: str) -> str:
    """Return the address of a chain's primary hot wallet."""
    found = await session.exec(
        select(BlockchainWallet.address).where(
            BlockchainWallet.chain_id == chain_id, col(BlockchainWallet.primary)
        )
    )
    return found.one()
