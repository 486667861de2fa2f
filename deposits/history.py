"""Changing where a deposit stands, always together with a line of its history."""

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.deposits import DepositStatus
from models.deposits import ChainDeposit, ChainDepositEvent


def move(
    session: AsyncSession,
    deposit: ChainDeposit,
    status: DepositStatus,
    *,
    clock: Clock,
    detail: str | None = None,
) -> None:
    """Set the status of a deposit and note it; what is ignored stays so through everything."""
    if deposit.status != DepositStatus.IGNORED:
        deposit.status = status
    deposit.updated_at = clock.now()
    deposit.notified_at = None
    session.add(deposit)
    session.add(
        ChainDepositEvent(deposit_id=deposit.id, status=status, detail=detail, at=clock.now())
    )
