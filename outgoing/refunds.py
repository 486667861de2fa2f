"""Giving batched payouts back: by releasing the hold, or as a new entry once it was captured."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.payouts import PayoutStatus
from ledger import rules
from ledger.posting import Posting
from ledger.service import Ledger
from models.ledger import Hold, HoldStatus
from models.payouts import Payout
from payouts.desk import release_posting
from payouts.history import move


async def give_back(
    session: AsyncSession,
    payouts: Sequence[Payout],
    *,
    reason_code: str,
    clock: Clock,
    detail: str | None = None,
) -> None:
    """Refund payouts that the chain did not pay and, in their present state, cannot pay."""
    captured = await session.exec(
        select(Hold.id).where(
            col(Hold.id).in_([payout.hold_id for payout in payouts]),
            Hold.status == HoldStatus.CAPTURED,
        )
    )
    in_flight = set(captured)
    postings = [
        _returned(payout, clock) if payout.hold_id in in_flight else release_posting(payout, clock)
        for payout in payouts
    ]
    await Ledger.post_in(session, postings)
    move(
        session,
        payouts,
        PayoutStatus.REFUNDED,
        clock=clock,
        reason_code=reason_code,
        detail=detail,
    )


def _returned(payout: Payout, clock: Clock) -> Posting:
    return rules.payout_return(
        payout_id=payout.id,
        user_id=payout.user_id,
        chain_id=payout.chain_id,
        asset=payout.asset,
        total_minor=payout.amount_minor + payout.fee_minor,
        at=clock.now(),
    )
