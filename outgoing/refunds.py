"""Refunding batched payouts that the chain did not pay and, in their present state, cannot pay."""

from collections.abc import Mapping, Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.payouts import PayoutStatus
from ledger.posting import Posting
from ledger.service import Ledger
from models.payouts import Payout
from payouts.history import move_all
from payouts.money import return_postings


async def post_and_refund(
    session: AsyncSession,
    postings: Sequence[Posting],
    refunded: Mapping[str, Sequence[Payout]],
    *,
    clock: Clock,
    detail: str | None = None,
) -> None:
    """
    Post, and give payouts back with it, named by the reason's code.

    It is one call to the ledger because the ledger may be called once in a unit of work.
    """
    payouts = [payout for group in refunded.values() for payout in group]
    returns = await return_postings(session, payouts, clock=clock)
    await Ledger.post_in(session, [*postings, *returns])
    for reason_code, group in refunded.items():
        await move_all(
            session,
            group,
            PayoutStatus.REFUNDED,
            clock=clock,
            reason_code=reason_code,
            detail=detail,
        )
