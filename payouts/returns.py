"""What gives a payout's money back: its hold released, or a new entry once that was captured."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from ledger import rules
from ledger.posting import Posting
from models.ledger import Hold, HoldStatus
from models.payouts import Payout


async def return_postings(
    session: AsyncSession, payouts: Sequence[Payout], *, clock: Clock, is_expiry: bool = False
) -> list[Posting]:
    """Return postings that move amount and fee of each payout back to its user's available."""
    captured = await session.exec(
        select(Hold.id).where(
            col(Hold.id).in_([payout.hold_id for payout in payouts]),
            Hold.status == HoldStatus.CAPTURED,
        )
    )
    in_flight = set(captured)
    return [
        _returned(payout, clock)
        if payout.hold_id in in_flight
        else _released(payout, clock, is_expiry=is_expiry)
        for payout in payouts
    ]


def _released(payout: Payout, clock: Clock, *, is_expiry: bool) -> Posting:
    return rules.payout_release(
        payout_id=payout.id,
        hold_id=str(payout.hold_id),
        user_id=payout.user_id,
        asset=payout.asset,
        total_minor=payout.amount_minor + payout.fee_minor,
        is_expiry=is_expiry,
        at=clock.now(),
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
