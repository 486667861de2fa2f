"""Taking a quote for a transfer of a pocket: its terms, its fee, and what we set aside for it."""

from datetime import timedelta

from sqlalchemy import func
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.conversions import fee_in_paid
from domain.errors import (
    ConversionStockError,
    ConversionUnavailableError,
    QuoteMismatchError,
    UnknownAssetError,
)
from domain.pockets import PocketTransferRequest, Route
from domain.purchases import Terms
from domain.rate_table import Purpose
from gateways.rates.quotes import check_purpose, find_quote, free_quote
from gateways.rates.table import current_table
from ledger import chart
from ledger.conversion_rules import Swap
from ledger.queries import account_balance
from models.payouts import Payout, PocketConversion
from models.purchases import Quote
from models.wallets import Asset
from payouts.conversions import swap_of

_STOCK_LOCK = 7321


async def quote_of(session: AsyncSession, request: PocketTransferRequest) -> Quote | None:
    """
    Return the quote that a request names, or None for one that converts nothing.

    Raises:
        ConversionUnavailableError: It would convert, without a quote.
        QuoteNotFoundError, QuoteMismatchError: The quote is not for this very transfer.
        UnknownAssetError: One of the assets is switched off.
    """
    if request.quote_id is None:
        if request.to_asset not in (None, request.asset):
            msg = f"Ask for a quote from {request.asset} to {request.to_asset} first."
            raise ConversionUnavailableError(msg)
        return None
    quote = await find_quote(session, request.quote_id, user_id=request.user_id)
    check_purpose(quote, Purpose.CONVERSION)
    asked = (request.asset, request.to_asset, request.amount)
    if asked != (quote.pay_asset, quote.buy_asset, str(quote.pay_minor)):
        msg = f"The quote is for {quote.pay_minor} of {quote.pay_asset} to {quote.buy_asset}."
        raise QuoteMismatchError(msg)
    if not request.route.may_convert:
        msg = f"A {request.route} converts nothing."
        raise QuoteMismatchError(msg)
    for code in (quote.pay_asset, quote.buy_asset):
        if not (await session.get_one(Asset, code)).enabled:
            msg = f"{code} is switched off."
            raise UnknownAssetError(msg)
    return quote


async def take_quote(
    session: AsyncSession, payout: Payout, asset: Asset, *, clock: Clock
) -> tuple[PocketConversion, Swap]:
    """
    Return what a transfer converts, with the quote taken and what we give still to be set aside.

    Approvals must come while the rate is held.

    Raises:
        QuoteUsedError, QuoteExpiredError: As ``free_quote``.
        ConversionStockError: We have not set enough aside of what it would be converted into.
    """
    quote = await free_quote(
        session,
        str(payout.quote_id),
        user_id=payout.user_id,
        purpose=Purpose.CONVERSION,
        clock=clock,
    )
    terms = Terms(quote.pay_minor, quote.buy_minor)
    is_fund = payout.route == Route.FUND
    fee_minor = fee_in_paid(terms, asset.payout_fee_minor) if is_fund else 0
    swap = await swap_of(session, quote, fee_minor=fee_minor)
    if not swap.is_buy_issued:
        await _check_stock(session, quote)
    document = (await current_table(session)).document
    held_until = payout.created_at + timedelta(seconds=document.chain_window_s)
    if payout.approval_expires_at is not None:
        payout.approval_expires_at = min(payout.approval_expires_at, held_until)
    row = PocketConversion(
        payout_id=payout.id,
        quote_id=quote.id,
        fee_minor=fee_minor,
        settle_until=held_until + timedelta(seconds=document.settle_grace_s),
        late_tolerance_bps=document.late_tolerance_bps,
        created_at=payout.created_at,
    )
    return row, swap


async def _check_stock(session: AsyncSession, quote: Quote) -> None:
    # Whoever else wants of it waits until this one's share is set aside: the balance is then right.
    lock = func.pg_advisory_xact_lock(_STOCK_LOCK, func.hashtext(quote.buy_asset))
    await session.exec(select(lock))
    stock_minor = await account_balance(session, chart.CONVERSION_STOCK, quote.buy_asset)
    if stock_minor < quote.buy_minor:
        msg = f"There is not enough {quote.buy_asset} of ours to convert into now."
        raise ConversionStockError(msg)
