"""
What moves the money of transfers to and from pockets, as ``payouts.money`` for all other payouts.

What leaves a pocket has a second hold, of the coin that the chain may take for it, unless we lend
that coin. The second part ends with the first, but is settled with the fee.
"""

from collections.abc import Collection, Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.pockets import Route
from domain.policy import LimitReservation
from ledger import pocket_rules
from ledger.conversion_rules import Swap
from ledger.pocket_rules import Part, Purse
from ledger.posting import Posting
from limits.reservation import give_back
from models.ledger import Hold, HoldStatus
from models.payouts import Payout
from models.wallets import Chain
from payouts.conversions import conversions_of


def parts_of(payout: Payout, native_asset: str, swap: Swap | None = None) -> list[Part]:
    """
    Return what a transfer holds: its amount and fee, and its coin for the network.

    What goes to a pocket out of another asset holds that.
    """
    purse = Purse(payout.user_id, payout.chain_id, Route(payout.route).spends_pocket)
    asset, held_minor = payout.asset, payout.amount_minor + payout.fee_minor
    if swap is not None and payout.route == Route.FUND:
        asset, held_minor = swap.pay_asset, swap.pay_minor + swap.fee_minor
    parts = [Part(payout.id, purse, str(payout.hold_id), asset, held_minor, swap=swap)]
    if payout.gas_hold_id is not None:
        gas_minor = payout.gas_max_minor or 0
        parts.append(Part(payout.id, purse, payout.gas_hold_id, native_asset, gas_minor, "_gas"))
    return parts


def freeze_postings(
    payout: Payout,
    native_asset: str,
    *,
    limits: tuple[LimitReservation, ...],
    swap: Swap | None = None,
) -> list[Posting]:
    """Return postings that freeze what a transfer needs; the limits count its amount once."""
    amount, *gas = parts_of(payout, native_asset, swap)
    until, at = payout.approval_expires_at, payout.created_at
    first = pocket_rules.pocket_freeze(amount, limits=limits, expires_at=until, at=at)
    return [first, *(pocket_rules.pocket_freeze(part, expires_at=until, at=at) for part in gas)]


async def dispatch_postings(
    session: AsyncSession, payouts: Sequence[Payout], *, clock: Clock
) -> list[Posting]:
    """Return postings that capture transfers' holds into flight."""
    native, swaps = await _native_assets(session, payouts), await _swaps(session, payouts)
    return [
        pocket_rules.pocket_dispatch(part, at=clock.now())
        for payout in payouts
        for part in parts_of(payout, native[payout.chain_id], swaps.get(payout.id))
    ]


async def return_postings(
    session: AsyncSession, payouts: Sequence[Payout], *, clock: Clock, is_expiry: bool
) -> list[Posting]:
    """Return postings that give transfers back to where their money was."""
    native, swaps = await _native_assets(session, payouts), await _swaps(session, payouts)
    captured = await _captured(session, [str(payout.hold_id) for payout in payouts])
    postings: list[Posting] = []
    for payout in payouts:
        parts = parts_of(payout, native[payout.chain_id], swaps.get(payout.id))
        if payout.hold_id not in captured:
            postings += [
                pocket_rules.pocket_release(part, is_expiry=is_expiry, at=clock.now())
                for part in parts
            ]
            continue
        if payout.network_fee_minor is not None:
            # The chain took its fee for doing nothing; that is settled, and the rest free again.
            parts = parts[:1]
        await give_back(session, payout.id)
        postings += [pocket_rules.pocket_return(part, at=clock.now()) for part in parts]
    return postings


async def _swaps(session: AsyncSession, payouts: Sequence[Payout]) -> dict[str, Swap]:
    found = await conversions_of(session, payouts)
    return {payout_id: conversion.swap for payout_id, conversion in found.items()}


async def _captured(session: AsyncSession, hold_ids: Collection[str]) -> set[str]:
    found = await session.exec(
        select(Hold.id).where(col(Hold.id).in_(hold_ids), Hold.status == HoldStatus.CAPTURED)
    )
    return set(found)


async def _native_assets(session: AsyncSession, payouts: Sequence[Payout]) -> dict[str, str]:
    if not payouts:
        return {}
    wanted = {payout.chain_id for payout in payouts}
    found = await session.exec(
        select(Chain.id, Chain.native_asset).where(col(Chain.id).in_(wanted))
    )
    return dict(found.all())
