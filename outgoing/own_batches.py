"""What is written to have something moved from an address of ours: a batch of its own."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.evm_calls import TOPUP_GAS_MAX
from domain.ids import CHAIN_BATCH, CHAIN_TRANSACTION, derived_id
from models.chain_transactions import (
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.wallets import BlockchainWallet, Chain
from outgoing.records import OPEN

EXCLUSIVE: Sequence[str] = (
    ChainTransactionKind.SWEEP,
    ChainTransactionKind.GAS_TOPUP,
    ChainTransactionKind.POCKET_SPEND,
    ChainTransactionKind.NONCE_FILLER,
)
"""While one of these is on its way from or to an address, nothing else leaves it."""


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


async def hot_address(session: AsyncSession, chain_id: str) -> str:
    """Return the address of a chain's primary hot wallet."""
    found = await session.exec(
        select(BlockchainWallet.address).where(
            BlockchainWallet.chain_id == chain_id, col(BlockchainWallet.primary)
        )
    )
    return found.one()


def is_topup_possible(chain: Chain, amount_minor: int) -> bool:
    """Tell whether the signer gives an address this much coin for gas."""
    return amount_minor <= TOPUP_GAS_MAX * chain.max_fee_ceiling_minor


async def add_topup(
    session: AsyncSession, chain: Chain, address: str, amount_minor: int, *, hot: str, clock: Clock
) -> ChainBatch:
    """Plan to give an address of ours the coin that moving its tokens costs."""
    key = f"gas:{chain.id}:{address}:{clock.now().isoformat()}"
    batch = await add_batch(session, chain.id, hot, key, clock=clock)
    await add_transaction(
        session,
        batch,
        ChainTransactionKind.GAS_TOPUP,
        asset=chain.native_asset,
        destination=address,
        amount_minor=amount_minor,
    )
    return batch


async def busy_addresses(session: AsyncSession, chain_id: str) -> set[str]:
    """
    Return the addresses that a sweep, a top-up or a pocket's payment is on its way from or to.

    One at a time for each address: two that share one balance could starve each other of gas, and
    whatever needs a top-up waits until the coin is confirmed.
    """
    found = await session.exec(
        select(ChainTransaction.wallet_address, ChainTransaction.destination).where(
            ChainTransaction.chain_id == chain_id,
            col(ChainTransaction.kind).in_(EXCLUSIVE),
            col(ChainTransaction.status).in_(OPEN),
        )
    )
    return {str(address) for pair in found for address in pair}
