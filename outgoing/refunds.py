"""Refunding batched payouts that the chain did not pay and, in their present state, cannot pay."""

from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.payouts import PayoutStatus
from ledger.posting import Posting
from ledger.service import Ledger
from models.payouts import Payout
from payouts.history import move
from payouts.money import return_postings


async def post_and_refund(
    session: AsyncSession,
    postings: Sequence[Posting],
    refunded: Sequence[Payout],
    *,
    reason_code: str,
    clock: Clock,
    detail: str | None = None,
) -> None:
    """
    Post, and give these payouts back with it.

    It is one call to the ledger because the ledger may be called once in a unit of work.
    """
    returns = await return_postings(session, refunded, clock=clock)
    await Ledger.post_in(session, [*postings, *returns])
    move(
        session,
        refunded,
        PayoutStatus.REFUNDED,
        clock=clock,
        reason_code=reason_code,
        detail=detail,
    )
