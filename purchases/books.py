"""Bringing the books of one purchase to where its payments say that they belong."""

from collections.abc import Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.money import format_units
from domain.purchases import STRIPE, PaymentMethod, Position, Terms
from ledger import chart
from ledger.posting import Posting
from ledger.rules import PurchaseAccounts, PurchaseMove
from ledger.service import Ledger
from models.purchases import Purchase
from models.wallets import Asset
from purchases.history import note, tell_credited

Rule = Callable[..., Posting]
"""One of ``purchase_credit``, ``purchase_clawback`` and ``purchase_refund``."""


def terms_of(purchase: Purchase) -> Terms:
    """Return what was quoted."""
    return Terms(purchase.pay_minor, purchase.amount_minor)


def position_of(purchase: Purchase) -> Position:
    """Return what the books say now."""
    return Position(
        purchase.cash_minor,
        purchase.rest_minor,
        purchase.converted_minor,
        purchase.credited_minor,
    )


async def settle(
    session: AsyncSession, purchase: Purchase, target: Position, rule: Rule, *, clock: Clock
) -> int:
    """
    Post the difference between the books and the target; return by how much the credit moved.

    The caller holds the purchase's lock. It is the unit of work's last step: the end of the hash
    chain stays locked until the commit.
    """
    before = position_of(purchase)
    if before == target:
        return 0
    move = PurchaseMove(
        target.cash_minor - before.cash_minor,
        target.rest_minor - before.rest_minor,
        target.credited_minor - before.credited_minor,
    )
    purchase.postings += 1
    purchase.cash_minor, purchase.rest_minor = target.cash_minor, target.rest_minor
    purchase.converted_minor = target.converted_minor
    purchase.credited_minor = target.credited_minor
    await note(session, purchase, clock=clock, detail=await _said(session, purchase, move))
    if move.credited_minor > 0:
        await tell_credited(session, purchase)
    posting = rule(
        purchase_id=purchase.id,
        posting=purchase.postings,
        accounts=await _accounts(session, purchase),
        paid=move,
        at=clock.now(),
    )
    await Ledger.post_in(session, [posting])
    return move.credited_minor


async def _accounts(session: AsyncSession, purchase: Purchase) -> PurchaseAccounts:
    if purchase.method == PaymentMethod.CARD:
        cash, rest = chart.gateway(STRIPE), chart.purchase_clearing(STRIPE)
    else:
        chain_id = (await session.get_one(Asset, purchase.pay_asset)).home_chain_id
        cash, rest = chart.purchase_clearing(chain_id), chart.available(purchase.user_id)
    return PurchaseAccounts(purchase.user_id, purchase.pay_asset, purchase.asset, cash, rest)


async def _said(session: AsyncSession, purchase: Purchase, move: PurchaseMove) -> str:
    paying = await session.get_one(Asset, purchase.pay_asset)
    bought = await session.get_one(Asset, purchase.asset)
    parts = []
    for minor, asset, what in (
        (move.cash_minor, paying, "paid"),
        (move.rest_minor, paying, "not converted"),
        (move.credited_minor, bought, "credited"),
    ):
        if minor:
            sign = "-" if minor < 0 else ""
            amount = format_units(abs(minor), decimals=asset.decimals)
            parts.append(f"{sign}{amount} {asset.code} {what}")
    return ", ".join(parts) or "nothing moved"
