"""Quotes: a rate that is held for one user for a short while, and used once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Literal

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    AmountOutOfRangeError,
    InvalidAmountError,
    PairNotListedError,
    QuoteExpiredError,
    QuoteMismatchError,
    QuoteNotFoundError,
    QuoteUsedError,
    RateUnavailableError,
    UnknownAssetError,
)
from domain.ids import QUOTE, new_id
from domain.money import UINT256_MAX, format_units
from domain.purchases import PurchaseStatus
from domain.rate_table import Leg, Purpose, RateTableDocument
from domain.rates import BPS, Scale, bought_minor, needed_minor, rate_of
from gateways.rates.market import price_of
from gateways.rates.table import RateTableVersion, current_table
from infra.paging import Page, paged
from models.payouts import PocketConversion
from models.purchases import Purchase, Quote
from models.wallets import Asset

Side = Literal["pay", "buy"]
"""Which of the two amounts is given."""

RATE_MAX = 10**78 - 1
"""What a column for either part of a rate takes."""


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """What a user wants to know: what so much costs, or what so much buys."""

    user_id: str
    pay_asset: str
    buy_asset: str
    side: Side
    amount_minor: int
    purpose: Purpose = Purpose.PURCHASE


@dataclass(frozen=True, slots=True)
class _Offer:
    """What one minor unit buys now, step by step, the spreads not taken off."""

    legs: tuple[Leg, ...]
    rates: tuple[Fraction, ...]

    @property
    def fair(self) -> Fraction:
        return math.prod(self.rates, start=Fraction(1))

    @property
    def kept(self) -> Fraction:
        return math.prod((leg.kept for leg in self.legs), start=Fraction(1))

    @property
    def rate(self) -> Fraction:
        return self.fair * self.kept

    @property
    def source(self) -> str:
        return "market" if any(leg.pair.price is None for leg in self.legs) else "table"


async def give_quote(session: AsyncSession, wanted: QuoteRequest, *, clock: Clock) -> Quote:
    """
    Return a quote with its rate held until it expires.

    What is bought is rounded down and what is paid is rounded up, to a minor unit: the rest is the
    house's, and is told as part of ``spread_minor``.

    Raises:
        RateUnavailableError: No table of rates, or no price that can be trusted.
        PairNotListedError, UnknownAssetError: It is not for sale.
        AmountOutOfRangeError: Less or more than the pair takes, or it would buy nothing.
    """
    table = await current_table(session)
    legs = table.document.legs_of(wanted.pay_asset, wanted.buy_asset, wanted.purpose)
    paying = await _enabled(session, wanted.pay_asset)
    await _enabled(session, wanted.buy_asset)
    now = clock.now()
    offer = await _offer(session, legs, table.document, now=now)
    pay_minor, buy_minor = _amounts(wanted, offer.rate)
    _check_sizes(offer.rate, pay_minor, buy_minor)
    # A deposit that is smaller would be credited to nobody.
    least_minor = paying.deposit_min_minor if wanted.purpose == Purpose.PURCHASE else 1
    _check_least(paying, least_minor, pay_minor=pay_minor, buy_minor=buy_minor)
    await _check_range(session, offer, pay_minor=pay_minor, buy_minor=buy_minor)
    quote = _quote(wanted, offer, table)
    quote.pay_minor, quote.buy_minor = pay_minor, buy_minor
    quote.spread_minor = bought_minor(pay_minor, offer.fair) - buy_minor
    quote.created_at = now
    quote.expires_at = now + timedelta(seconds=table.document.quote_s)
    session.add(quote)
    await session.flush()
    return quote


async def pair_rate(
    session: AsyncSession, legs: Sequence[Leg], table: RateTableDocument, *, now: datetime
) -> Fraction:
    """
    Return what one minor unit buys now, the spread taken off.

    Raises:
        RateUnavailableError: No price is to be had now.
    """
    return (await _offer(session, legs, table, now=now)).rate


async def rate_now(
    session: AsyncSession, pay_asset: str, buy_asset: str, purpose: Purpose, *, now: datetime
) -> Fraction | None:
    """Return what one minor unit buys now, or None where nobody can say."""
    try:
        table = await current_table(session)
        legs = table.document.legs_of(pay_asset, buy_asset, purpose)
        return await pair_rate(session, legs, table.document, now=now)
    except (RateUnavailableError, PairNotListedError):
        return None


async def find_quote(session: AsyncSession, quote_id: str, *, user_id: str | None) -> Quote:
    """
    Return one quote; ``user_id`` restricts it to what is theirs.

    Raises:
        QuoteNotFoundError: There is none, or it is somebody else's.
    """
    quote = await session.get(Quote, quote_id)
    if quote is None or user_id not in (None, quote.user_id):
        raise QuoteNotFoundError
    return quote


async def free_quote(
    session: AsyncSession, quote_id: str, *, user_id: str, purpose: Purpose, clock: Clock
) -> Quote:
    """
    Return a quote that nobody else can take until the unit of work ends.

    Raises:
        QuoteNotFoundError, QuoteMismatchError, QuoteUsedError, QuoteExpiredError: It is not to be
            had for this.
    """
    # Two takers of one quote come one after the other; the index would refuse the second too.
    await session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(quote_id, 0))))
    quote = await find_quote(session, quote_id, user_id=user_id)
    check_purpose(quote, purpose)
    if await _is_used(session, quote):
        raise QuoteUsedError
    if clock.now() > quote.expires_at:
        raise QuoteExpiredError
    return quote


def check_purpose(quote: Quote, purpose: Purpose) -> None:
    """
    Pass for a quote that was given for this.

    Raises:
        QuoteMismatchError: It was given for something else.
    """
    if quote.purpose != purpose:
        msg = f"The quote is for a {quote.purpose}."
        raise QuoteMismatchError(msg)


async def list_quotes(session: AsyncSession, page: Page, *, user_id: str) -> list[Quote]:
    """Return a page of a user's quotes, newest first, and one row more."""
    query = select(Quote).where(Quote.user_id == user_id)
    query = paged(query, page, created_at=Quote.created_at, row_id=Quote.id)
    return list(await session.exec(query))


async def _offer(
    session: AsyncSession, legs: Sequence[Leg], table: RateTableDocument, *, now: datetime
) -> _Offer:
    rates = []
    for leg in legs:
        listed = await price_of(session, leg.pair, table, now=now)
        paying = await session.get_one(Asset, leg.pay_asset)
        bought = await session.get_one(Asset, leg.buy_asset)
        scale = Scale(paying.decimals, bought.decimals)
        price = 1 / listed if leg.is_inverted else listed
        rates.append(rate_of(price, scale, spread_bps=0))
    return _Offer(tuple(legs), tuple(rates))


async def _is_used(session: AsyncSession, quote: Quote) -> bool:
    bought = await session.exec(
        select(Purchase.id).where(
            Purchase.quote_id == quote.id, col(Purchase.status) != PurchaseStatus.REFUSED
        )
    )
    converted = await session.exec(
        select(PocketConversion.payout_id).where(PocketConversion.quote_id == quote.id)
    )
    return bought.first() is not None or converted.first() is not None


def _quote(wanted: QuoteRequest, offer: _Offer, table: RateTableVersion) -> Quote:
    return Quote(
        id=new_id(QUOTE),
        user_id=wanted.user_id,
        purpose=wanted.purpose,
        pay_asset=wanted.pay_asset,
        buy_asset=wanted.buy_asset,
        pay_minor=0,
        buy_minor=0,
        rate_numerator=offer.rate.numerator,
        rate_denominator=offer.rate.denominator,
        spread_bps=BPS - math.floor(offer.kept * BPS),
        spread_minor=0,
        rate_source=offer.source,
        rate_version=table.version,
    )


def _amounts(wanted: QuoteRequest, rate: Fraction) -> tuple[int, int]:
    if wanted.side == "pay":
        return wanted.amount_minor, bought_minor(wanted.amount_minor, rate)
    return needed_minor(wanted.amount_minor, rate), wanted.amount_minor


def _check_sizes(rate: Fraction, pay_minor: int, buy_minor: int) -> None:
    if max(rate.numerator, rate.denominator) > RATE_MAX:
        msg = "The rate has too many digits to be written down exactly."
        raise RateUnavailableError(msg)
    if max(pay_minor, buy_minor) > UINT256_MAX:
        raise InvalidAmountError


def _check_least(paying: Asset, least_minor: int, *, pay_minor: int, buy_minor: int) -> None:
    if pay_minor < least_minor or buy_minor == 0:
        text = format_units(least_minor, decimals=paying.decimals)
        msg = f"At least {text} {paying.code} must be paid, and buy something."
        raise AmountOutOfRangeError(msg)


async def _check_range(
    session: AsyncSession, offer: _Offer, *, pay_minor: int, buy_minor: int
) -> None:
    """Hold each step to its pair's bounds, which are on what the pair takes as it is listed."""
    taken: Fraction = Fraction(pay_minor)
    for leg, rate in zip(offer.legs, offer.rates, strict=True):
        given = Fraction(buy_minor) if leg is offer.legs[-1] else taken * rate * leg.kept
        bounded = given if leg.is_inverted else taken
        asset = await session.get_one(Asset, leg.pair.pay_asset)
        _check_bounds(leg, asset, bounded)
        taken = given


def _check_bounds(leg: Leg, asset: Asset, amount: Fraction) -> None:
    verb = "bought" if leg.is_inverted else "paid"
    if amount < int(leg.pair.pay_min_minor):
        text = format_units(int(leg.pair.pay_min_minor), decimals=asset.decimals)
        msg = f"At least {text} {asset.code} must be {verb}, and buy something."
        raise AmountOutOfRangeError(msg)
    if leg.pair.pay_max_minor is not None and amount > int(leg.pair.pay_max_minor):
        text = format_units(int(leg.pair.pay_max_minor), decimals=asset.decimals)
        msg = f"At most {text} {asset.code} may be {verb}."
        raise AmountOutOfRangeError(msg)


async def _enabled(session: AsyncSession, code: str) -> Asset:
    asset = await session.get(Asset, code)
    if asset is None or not asset.enabled:
        msg = f"There is no asset {code!r}."
        raise UnknownAssetError(msg)
    return asset
