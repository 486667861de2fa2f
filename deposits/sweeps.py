"""Reading sweeps: what of our own moved, or is on its way, between our own addresses."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import ChainNotFoundError
from infra.paging import Page, paged
from models.chain_transactions import ChainTransaction, ChainTransactionKind
from models.wallets import Chain

KINDS = (ChainTransactionKind.SWEEP, ChainTransactionKind.GAS_TOPUP)


async def list_sweeps(
    session: AsyncSession, chain_id: str, page: Page
) -> Sequence[ChainTransaction]:
    """
    Return a page of a chain's sweeps and gas top-ups, newest first, and one row more.

    Raises:
        ChainNotFoundError: The catalog has no such chain.
    """
    await check_chain(session, chain_id)
    query = select(ChainTransaction).where(
        ChainTransaction.chain_id == chain_id, col(ChainTransaction.kind).in_(KINDS)
    )
    query = paged(query, page, created_at=ChainTransaction.created_at, row_id=ChainTransaction.id)
    return (await session.exec(query)).all()


async def check_chain(session: AsyncSession, chain_id: str) -> None:
    """Pass for a chain of the catalog; raise ChainNotFoundError else."""
    if await session.get(Chain, chain_id) is None:
        raise ChainNotFoundError
