"""What is special about sweeps among what we move ourselves: the deposits that they take along."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.chain_transactions import ChainTransaction, ChainTransactionKind
from models.deposits import ChainDeposit
from outgoing.records import OPEN

OURS = (ChainTransactionKind.SWEEP, ChainTransactionKind.GAS_TOPUP)


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
