"""Changing where a deposit stands, always together with a line of its history and what is told."""

from sqlalchemy import inspect
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.deposits import DepositStatus
from domain.events import Event, Json
from events.outbox import enqueue
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
    is_ignored = deposit.status == DepositStatus.IGNORED
    # What is credited keeps that status while its block leaves the chain and comes back: to say
    # "credited" again would look like money twice.
    is_news = inspect(deposit).transient or deposit.status != status
    if not is_ignored:
        deposit.status = status
    deposit.updated_at = clock.now()
    deposit.notified_at = None
    session.add(deposit)
    session.add(
        ChainDepositEvent(deposit_id=deposit.id, status=status, detail=detail, at=clock.now())
    )
    if is_news and not is_ignored:
        enqueue(session, _event(deposit, status))


def _event(deposit: ChainDeposit, status: DepositStatus) -> Event:
    data: dict[str, Json] = {
        "status": status.value,
        "asset": deposit.asset,
        "chain_id": deposit.chain_id,
        "amount": str(deposit.amount_minor),
        "txid": deposit.txid,
        "address_id": deposit.address_id,
        "block_height": deposit.block_height,
    }
    return Event(deposit.user_id, f"deposit.{status}", deposit.id, data)
