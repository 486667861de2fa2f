"""What transfers of pockets convert: their quotes, and what was decided of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.conversions import Redeemed, redeemed
from domain.pockets import Route
from domain.purchases import Terms
from ledger.conversion_rules import Swap
from models.payouts import Payout, PocketConversion
from models.purchases import Quote
from models.wallets import Asset, AssetKind


@dataclass(frozen=True, slots=True)
class Conversion:
    """A transfer's quote with what is known of its conversion."""

    quote: Quote
    row: PocketConversion | None
    """None: the transfer was refused, and the quote is free."""
    swap: Swap

    @property
    def terms(self) -> Terms:
        """What was quoted."""
        return Terms(self.quote.pay_minor, self.quote.buy_minor)

    @property
    def rate(self) -> Fraction | None:
        """At which rate what came back is converted; None: it is not, or nothing was decided."""
        if self.row is None or not self.row.is_converted:
            return None
        if self.row.rate_numerator is None or self.row.rate_denominator is None:
            return self.terms.rate
        return Fraction(self.row.rate_numerator, self.row.rate_denominator)

    def redeemed(self, arrived_minor: int) -> Redeemed:
        """Return what became of what arrived from a pocket."""
        return redeemed(self.terms, arrived_minor, self.rate)

    def got_minor(self, payout: Payout) -> int:
        """Return what its user has of the asset that they wanted, by the books."""
        if payout.route == Route.FUND:
            return payout.arrived_booked_minor
        return self.redeemed(payout.arrived_booked_minor).given_minor


async def conversions_of(
    session: AsyncSession, payouts: Iterable[Payout]
) -> Mapping[str, Conversion]:
    """Return what these payouts convert, by their ids; most convert nothing."""
    quoted = {payout.id: payout.quote_id for payout in payouts if payout.quote_id is not None}
    if not quoted:
        return {}
    quotes = await session.exec(select(Quote).where(col(Quote.id).in_(quoted.values())))
    by_id = {quote.id: quote for quote in quotes}
    rows = await session.exec(
        select(PocketConversion).where(col(PocketConversion.payout_id).in_(quoted))
    )
    by_payout = {row.payout_id: row for row in rows}
    found = {}
    for payout_id, quote_id in quoted.items():
        quote, row = by_id[quote_id], by_payout.get(payout_id)
        swap = await swap_of(session, quote, fee_minor=row.fee_minor if row else 0)
        found[payout_id] = Conversion(quote, row, swap)
    return found


async def swap_of(session: AsyncSession, quote: Quote, *, fee_minor: int) -> Swap:
    """Return what a quote converts, as the ledger's rules take it."""
    paying = await session.get_one(Asset, quote.pay_asset)
    bought = await session.get_one(Asset, quote.buy_asset)
    return Swap(
        pay_asset=quote.pay_asset,
        pay_minor=quote.pay_minor,
        fee_minor=fee_minor,
        buy_asset=quote.buy_asset,
        buy_minor=quote.buy_minor,
        is_pay_issued=paying.kind == AssetKind.INTERNAL,
        is_buy_issued=bought.kind == AssetKind.INTERNAL,
    )
