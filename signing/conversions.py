"""
What backs a payment to a pocket that its user pays for in another asset.

The user's own money is in flight in that other asset; what the chain moves was set aside of ours
for this very transfer, by its quote. Nobody else's money is touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.rate_table import Purpose
from models.ledger import LedgerAccount, LedgerEntry, LedgerTransaction
from models.payouts import Payout, PocketConversion
from models.purchases import Quote

RESERVED = "conversions:reserved"
"""``ledger.chart.CONVERSION_RESERVED``; the signer reads the books, and imports nothing of them."""


@dataclass(frozen=True, slots=True)
class Backing:
    """What must be in flight for a payment, in minor units of the asset that its user paid with."""

    asset: str
    amount_minor: int


async def backings_of(session: AsyncSession, payouts: Sequence[Payout]) -> Mapping[str, Backing]:
    """Return what backs those of the payouts that convert, by id; the unbacked are left out."""
    quoted = [payout for payout in payouts if payout.quote_id is not None]
    found = {}
    for payout in quoted:
        if (backing := await _backing(session, payout)) is not None:
            found[payout.id] = backing
    return found


async def _backing(session: AsyncSession, payout: Payout) -> Backing | None:
    row = await session.get(PocketConversion, payout.id)
    quote = await session.get(Quote, payout.quote_id)
    if row is None or quote is None or row.quote_id != quote.id:
        return None
    quoted = (quote.user_id, quote.purpose, quote.buy_asset, quote.buy_minor, payout.fee_minor)
    paid = (payout.user_id, Purpose.CONVERSION, payout.asset, payout.amount_minor, 0)
    if quoted != paid or await _reserved_minor(session, payout) != payout.amount_minor:
        return None
    return Backing(quote.pay_asset, quote.pay_minor + row.fee_minor)


async def _reserved_minor(session: AsyncSession, payout: Payout) -> int:
    """Return what was set aside of ours when the transfer was frozen."""
    found = await session.exec(
        select(LedgerEntry.amount_minor)
        .join(LedgerTransaction, col(LedgerTransaction.id) == col(LedgerEntry.transaction_id))
        .join(LedgerAccount, col(LedgerAccount.id) == col(LedgerEntry.account_id))
        .where(
            LedgerTransaction.key == f"{payout.id}:freeze",
            LedgerAccount.code == RESERVED,
            LedgerAccount.asset == payout.asset,
        )
    )
    return sum(found)
