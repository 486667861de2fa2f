"""Quotes: a rate that is held for one user for a short while."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Literal

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    AmountOutOfRangeError,
    InvalidAmountError,
    QuoteNotFoundError,
    UnknownAssetError,
)
from domain.ids import QUOTE, new_id
from domain.money import UINT256_MAX, format_units
from domain.rate_table import PairTerms, RateTableDocument
from domain.rates import Scale, bought_minor, needed_minor, rate_of
from gateways.rates.market import price_of
from gateways.rates.table import RateTableVersion, current_table
from infra.paging import Page, paged
from models.purchases import Quote
from models.wallets import Asset

Side = Literal["pay", "buy"]
"""Which of the two amounts is given."""


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """What a user wants to know: what so much costs, or what so much buys."""

    user_id: str
    pay_asset: str
    buy_asset: str
    side: Side
    amount_minor: int


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
    pair = table.document.terms_of(wanted.pay_asset, wanted.buy_asset)
    paying = await _enabled(session, pair.pay_asset)
    bought = await _enabled(session, pair.buy_asset)
    now = clock.now()
    price = await price_of(session, pair, table.document, now=now)
    scale = Scale(paying.decimals, bought.decimals)
    pay_minor, buy_minor = _amounts(wanted, rate_of(price, scale, spread_bps=pair.spread_bps))
    _check_range(pair, paying, pay_minor=pay_minor, buy_minor=buy_minor)
    unspread_minor = bought_minor(pay_minor, rate_of(price, scale, spread_bps=0))
    quote = _quote(wanted, pair, table, rate_of(price, scale, spread_bps=pair.spread_bps))
    quote.pay_minor, quote.buy_minor = pay_minor, buy_minor
    quote.spread_minor = unspread_minor - buy_minor
    quote.created_at = now
    quote.expires_at = now + timedelta(seconds=table.document.quote_s)
    session.add(quote)
    await session.flush()
    return quote


async def pair_rate(
    session: AsyncSession, pair: PairTerms, table: RateTableDocument, *, now: datetime
) -> Fraction:
    """
    Return what one minor unit buys now, the spread taken off.

    Raises:
        RateUnavailableError: No price is to be had now.
    """
    paying = await session.get_one(Asset, pair.pay_asset)
    bought = await session.get_one(Asset, pair.buy_asset)
    price = await price_of(session, pair, table, now=now)
    scale = Scale(paying.decimals, bought.decimals)
    return rate_of(price, scale, spread_bps=pair.spread_bps)


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


async def list_quotes(session: AsyncSession, page: Page, *, user_id: str) -> list[Quote]:
    """Return a page of a user's quotes, newest first, and one row more."""
    query = select(Quote).where(Quote.user_id == user_id)
    query = paged(query, page, created_at=Quote.created_at, row_id=Quote.id)
    return list(await session.exec(query))


def _quote(wanted: QuoteRequest, pair: PairTerms, table: RateTableVersion, rate: Fraction) -> Quote:
    return Quote(
        id=new_id(QUOTE),
        user_id=wanted.user_id,
        pay_asset=pair.pay_asset,
        buy_asset=pair.buy_asset,
        pay_minor=0,
        buy_minor=0,
        rate_numerator=rate.numerator,
        rate_denominator=rate.denominator,
        spread_bps=pair.spread_bps,
        spread_minor=0,
        rate_source="market" if pair.price is None else "table",
        rate_version=table.version,
    )


def _amounts(wanted: QuoteRequest, rate: Fraction) -> tuple[int, int]:
    if wanted.side == "pay":
        return wanted.amount_minor, bought_minor(wanted.amount_minor, rate)
    return needed_minor(wanted.amount_minor, rate), wanted.amount_minor


def _check_range(pair: PairTerms, paying: Asset, *, pay_minor: int, buy_minor: int) -> None:
    if max(pay_minor, buy_minor) > UINT256_MAX:
        raise InvalidAmountError
    # A deposit that is smaller would be credited to nobody.
    least = max(int(pair.pay_min_minor), paying.deposit_min_minor)
    if pay_minor < least or buy_minor == 0:
        text = format_units(least, decimals=paying.decimals)
        msg = f"At least {text} {paying.code} must be paid, and buy something."
        raise AmountOutOfRangeError(msg)
    if pair.pay_max_minor is not None and pay_minor > int(pair.pay_max_minor):
        text = format_units(int(pair.pay_max_minor), decimals=paying.decimals)
        msg = f"At most {text} {paying.code} may be paid."
        raise AmountOutOfRangeError(msg)


async def _enabled(session: AsyncSession, code: str) -> Asset:
    asset = await session.get(Asset, code)
    if asset is None or not asset.enabled:
        msg = f"There is no asset {code!r}."
        raise UnknownAssetError(msg)
    return asset
