"""Changing a payout's status, always together with a line of its history."""

from collections.abc import Iterable

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import PayoutNotFoundError
from domain.payouts import PayoutOutcome, PayoutStatus
from models.payouts import Payout, PayoutEvent


async def locked_payout(session: AsyncSession, payout_id: str) -> Payout:
    """
    Return the payout with its row locked until the unit of work ends.

    Raises:
        PayoutNotFoundError: There is none.
    """
    payout = await session.get(Payout, payout_id, with_for_update=True)
    if payout is None:
        raise PayoutNotFoundError
    return payout


def move(
    session: AsyncSession,
    payouts: Iterable[Payout],
    status: PayoutStatus,
    *,
    clock: Clock,
    reason_code: str | None = None,
    detail: str | None = None,
) -> None:
    """Set the status of payouts, and note it in their histories."""
    for payout in payouts:
        payout.status = status
        payout.updated_at = clock.now()
        payout.reason_code = reason_code
        session.add(payout)
        session.add(PayoutEvent(payout_id=payout.id, status=status, detail=detail, at=clock.now()))


def outcome_of(payout: Payout, *, txid: str | None = None) -> PayoutOutcome:
    """Return the payout's standing as workflows exchange it."""
    return PayoutOutcome(
        payout.id, PayoutStatus(payout.status), payout.reason_code, txid, payout.run_id
    )
