"""
Settlement of transfers that convert on their way; ``outgoing.pocket_settlement`` calls it.

Whether what came back from a pocket is converted, and at which rate, is decided once, when it first
settles, and written down: a reorg that brings it again changes nothing of that.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.conversions import settled_rate
from domain.pockets import Route
from domain.rate_table import Purpose
from gateways.rates.quotes import rate_now
from ledger import conversion_rules
from ledger.conversion_rules import Journey
from ledger.posting import Posting
from models.chain_transactions import ChainTransaction
from models.payouts import Payout
from payouts.conversions import Conversion, conversions_of


async def settling_conversions(
    session: AsyncSession, payouts: Sequence[Payout], moved: Sequence[Payout], *, clock: Clock
) -> Mapping[str, Conversion]:
    """Return what these payouts convert; the rate of those that the chain moved is decided."""
    found = await conversions_of(session, payouts)
    for payout in moved:
        conversion = found.get(payout.id)
        if conversion is not None and payout.route == Route.REDEEM:
            await _decide(session, conversion, now=clock.now())
    return found


async def _decide(session: AsyncSession, conversion: Conversion, *, now: datetime) -> None:
    row, quote, terms = conversion.row, conversion.quote, conversion.terms
    if row is None or row.is_converted is not None:
        return
    # Without an end, whoever asks for a conversion would hold an option for as long as it takes.
    is_late = now > row.settle_until
    present = None
    if is_late:
        present = await rate_now(
            session, quote.pay_asset, quote.buy_asset, Purpose.CONVERSION, now=now
        )
    rate = settled_rate(
        terms, is_late=is_late, present=present, tolerance_bps=row.late_tolerance_bps
    )
    row.is_converted = rate is not None
    if rate is not None and rate != terms.rate:
        row.rate_numerator, row.rate_denominator = rate.numerator, rate.denominator
    session.add(row)


def settle_posting(
    payout: Payout, conversion: Conversion, *, arrived_minor: int, at: datetime
) -> Posting:
    """Return the one ledger transaction with both sides and both assets of a transfer."""
    journey = _journey(payout)
    if payout.route == Route.FUND:
        return conversion_rules.fund_settle(
            journey,
            conversion.swap,
            left_minor=payout.amount_minor,
            arrived_minor=arrived_minor,
            at=at,
        )
    return conversion_rules.redeem_settle(
        journey,
        conversion.swap,
        left_minor=payout.amount_minor,
        got=conversion.redeemed(arrived_minor),
        at=at,
    )


def fix_posting(
    row: ChainTransaction,
    payout: Payout,
    conversion: Conversion,
    *,
    left_minor: int,
    arrived_minor: int,
    at: datetime,
) -> Posting:
    """Return what the chain says more, or less, than the books; the amounts are the totals."""
    more_left_minor = left_minor - payout.left_booked_minor
    if payout.route == Route.FUND:
        return conversion_rules.fund_fix(
            _journey(payout),
            conversion.swap,
            chain_transaction_id=row.id,
            settlement=row.settlements,
            left_minor=more_left_minor,
            arrived_minor=arrived_minor - payout.arrived_booked_minor,
            at=at,
        )
    before = conversion.redeemed(payout.arrived_booked_minor)
    return conversion_rules.redeem_fix(
        _journey(payout),
        conversion.swap,
        chain_transaction_id=row.id,
        settlement=row.settlements,
        left_minor=more_left_minor,
        got=conversion.redeemed(arrived_minor).minus(before),
        at=at,
    )


def _journey(payout: Payout) -> Journey:
    return Journey(payout.id, payout.user_id, payout.chain_id)
