"""Opening a purchase: take the quote, reserve the limits, say where to pay; or refuse."""

from dataclasses import dataclass
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.addresses import AddressRequest, issue
from domain.clock import Clock
from domain.errors import (
    StrongroomError,
    UnknownAssetError,
    error_by_code,
)
from domain.gateway_ports import IntentStatus
from domain.limits import Operation
from domain.purchases import (
    PaymentMethod,
    PurchaseAcceptance,
    PurchaseRequest,
    PurchaseStatus,
)
from domain.rate_table import Purpose
from gateways.rates.quotes import free_quote
from gateways.rates.table import current_table
from limits.reservation import reserve
from models.purchases import CardPaymentRow, Purchase, Quote
from models.wallets import Asset, AssetKind
from purchases.history import move


@dataclass(frozen=True, slots=True)
class _Means:
    """How and until when a purchase is paid."""

    method: PaymentMethod
    window: timedelta
    grace: timedelta
    late_tolerance_bps: int


async def open_purchase(
    session: AsyncSession, request: PurchaseRequest, *, clock: Clock
) -> Purchase:
    """
    Return an open purchase with the quote's terms, which nobody else can take any more.

    Raises:
        QuoteNotFoundError, QuoteMismatchError, QuoteExpiredError, QuoteUsedError: The quote is not
            to be had.
        LimitExceededError, UnknownAssetError, AccountNotReadyError, DepositAddressLimitError:
            As named; nothing is kept.
    """
    quote = await free_quote(
        session,
        request.quote_id,
        user_id=request.user_id,
        purpose=Purpose.PURCHASE,
        clock=clock,
    )
    paying = await _check_enabled(session, quote)
    now = clock.now()
    await reserve(
        session,
        user_id=request.user_id,
        operation=Operation.PURCHASE,
        asset=quote.buy_asset,
        amount_minor=quote.buy_minor,
        at=now,
        hold_id=None,
        resource_id=request.purchase_id,
    )
    means = await _means(session, paying)
    purchase = _purchase(request, quote, means, clock=clock)
    if means.method == PaymentMethod.CHAIN:
        purchase.address_id = await _address(session, request, paying, clock=clock)
    session.add(purchase)
    await session.flush()
    if means.method == PaymentMethod.CARD:
        session.add(CardPaymentRow(purchase_id=purchase.id, status=IntentStatus.OPEN))
    await move(session, purchase, PurchaseStatus.AWAITING_PAYMENT, clock=clock)
    return purchase


async def keep_refusal(
    session: AsyncSession, request: PurchaseRequest, refusal: StrongroomError, *, clock: Clock
) -> Purchase | None:
    """Remember a refusal, so that the same key is answered the same for ever; None: no quote."""
    quote = await session.get(Quote, request.quote_id)
    is_theirs = quote is not None and quote.user_id == request.user_id
    if quote is None or not is_theirs or quote.purpose != Purpose.PURCHASE:
        return None
    paying = await session.get_one(Asset, quote.pay_asset)
    purchase = _purchase(request, quote, await _means(session, paying), clock=clock)
    purchase.status, purchase.reason_code = "", refusal.code
    await move(session, purchase, PurchaseStatus.REFUSED, clock=clock, detail=refusal.detail)
    return purchase


def acceptance_of(purchase: Purchase, detail: str | None = None) -> PurchaseAcceptance:
    """Return what a requester is told."""
    refusal = error_by_code(purchase.reason_code) if purchase.reason_code else None
    return PurchaseAcceptance(
        purchase_id=purchase.id,
        status=PurchaseStatus(purchase.status),
        request_hash=purchase.request_hash,
        reason_code=purchase.reason_code,
        reason=detail or (refusal.title if refusal else None),
    )


def refused(request: PurchaseRequest, refusal: StrongroomError) -> PurchaseAcceptance:
    """Return a refusal that is not remembered."""
    return PurchaseAcceptance(
        purchase_id=request.purchase_id,
        status=PurchaseStatus.REFUSED,
        request_hash=request.request_hash,
        reason_code=refusal.code,
        reason=refusal.detail,
    )


async def _check_enabled(session: AsyncSession, quote: Quote) -> Asset:
    """Return the asset that pays."""
    for code in (quote.pay_asset, quote.buy_asset):
        if not (await session.get_one(Asset, code)).enabled:
            msg = f"{code} is switched off."
            raise UnknownAssetError(msg)
    return await session.get_one(Asset, quote.pay_asset)


async def _means(session: AsyncSession, paying: Asset) -> _Means:
    document = (await current_table(session)).document
    is_card = paying.kind == AssetKind.FIAT
    window_s = document.card_window_s if is_card else document.chain_window_s
    return _Means(
        PaymentMethod.CARD if is_card else PaymentMethod.CHAIN,
        timedelta(seconds=window_s),
        timedelta(seconds=document.settle_grace_s),
        document.late_tolerance_bps,
    )


def _purchase(request: PurchaseRequest, quote: Quote, means: _Means, *, clock: Clock) -> Purchase:
    now = clock.now()
    return Purchase(
        id=request.purchase_id,
        user_id=request.user_id,
        principal=request.principal,
        idempotency_key=request.idempotency_key,
        request_hash=request.request_hash,
        quote_id=quote.id,
        method=means.method,
        pay_asset=quote.pay_asset,
        pay_minor=quote.pay_minor,
        asset=quote.buy_asset,
        amount_minor=quote.buy_minor,
        fee_minor=quote.spread_minor,
        status="",
        expires_at=now + means.window,
        settle_until=now + means.window + means.grace,
        late_tolerance_bps=means.late_tolerance_bps,
        created_at=now,
        updated_at=now,
    )


async def _address(
    session: AsyncSession, request: PurchaseRequest, paying: Asset, *, clock: Clock
) -> str:
    """Return the id of a fresh address that only this purchase is paid at."""
    wanted = AddressRequest(
        user_id=request.user_id,
        asset=paying.code,
        label=f"purchase {request.purchase_id}",
        principal=request.purchase_id,
        idempotency_key="address",
    )
    return (await issue(session, wanted, clock=clock)).row.id
