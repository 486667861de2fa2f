"""
Settlement: what the chain confirmed becomes ledger entries, in bulk and once.

A reorg may mine a settled transaction again at another fee; then only the difference is posted.
"""

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.payouts import OPEN_STATUSES, PayoutStatus
from domain.ports import SettleOutcome
from ledger import rules
from ledger.posting import Posting
from ledger.service import Ledger
from models.chain_transactions import (
    SETTLEABLE,
    ChainTransaction,
    ChainTransactionStatus,
)
from models.payouts import Payout
from models.wallets import Chain
from outgoing.records import OPEN, locked_batch, payouts_of
from payouts.history import move


async def settle(session: AsyncSession, batch_id: str, *, clock: Clock) -> SettleOutcome:
    """Post every confirmed transaction of a batch that the ledger lacks; finish its payouts."""
    batch = await locked_batch(session, batch_id)
    chain = await session.get_one(Chain, batch.chain_id)
    rows = await _settleable(session, batch_id)
    payouts = await payouts_of(session, [row.id for row in rows], lock=True)
    postings = [p for row in rows for p in _cost_postings(row, chain.native_asset, clock)]
    await _finish(session, rows, payouts, postings, clock=clock)
    for row in rows:
        row.fee_booked_minor = row.network_fee_minor or 0
        row.settled_at = row.settled_at or clock.now()
    await session.flush()
    return SettleOutcome(
        is_done=await _open_count(session, batch_id) == 0,
        to_notify=await _unnotified_count(session, batch_id),
        bump_after_s=chain.bump_after_s,
    )


async def _settleable(session: AsyncSession, batch_id: str) -> list[ChainTransaction]:
    found = await session.exec(
        select(ChainTransaction)
        .where(
            ChainTransaction.batch_id == batch_id,
            col(ChainTransaction.status).in_(SETTLEABLE),
            col(ChainTransaction.settled_at).is_(None)
            | (col(ChainTransaction.fee_booked_minor) != col(ChainTransaction.network_fee_minor)),
        )
        .order_by(col(ChainTransaction.id))
        .with_for_update()
    )
    return list(found)


async def _finish(
    session: AsyncSession,
    rows: Sequence[ChainTransaction],
    payouts: Sequence[Payout],
    postings: list[Posting],
    *,
    clock: Clock,
) -> None:
    by_id = {row.id: row for row in rows}
    paid: list[Payout] = []
    failed: list[Payout] = []
    for payout in payouts:
        if payout.status != PayoutStatus.BATCHED:
            continue
        row = by_id[str(payout.chain_transaction_id)]
        (paid if row.status == ChainTransactionStatus.CONFIRMED else failed).append(payout)
    postings += [_settled(payout, clock) for payout in paid]
    postings += [returned(payout, clock) for payout in failed]
    await Ledger.post_in(session, postings)
    move(session, paid, PayoutStatus.SETTLED, clock=clock)
    move(session, failed, PayoutStatus.REFUNDED, clock=clock, reason_code="reverted_on_chain")


def _cost_postings(row: ChainTransaction, native_asset: str, clock: Clock) -> list[Posting]:
    """Return postings for the network fee, and for what a token took on top of the amount."""
    postings: list[Posting] = []
    fee_minor = (row.network_fee_minor or 0) - row.fee_booked_minor
    if fee_minor:
        postings.append(
            rules.network_fee(
                chain_transaction_id=row.id,
                block_hash=str(row.block_hash),
                chain_id=row.chain_id,
                asset=native_asset,
                fee_minor=fee_minor,
                at=clock.now(),
            )
        )
    surcharge_minor = (row.outflow_minor or 0) - row.amount_minor
    is_paid = row.status == ChainTransactionStatus.CONFIRMED
    if is_paid and surcharge_minor and row.settled_at is None:
        postings.append(
            rules.token_surcharge(
                chain_transaction_id=row.id,
                chain_id=row.chain_id,
                asset=row.asset,
                surcharge_minor=surcharge_minor,
                at=clock.now(),
            )
        )
    return postings


def _settled(payout: Payout, clock: Clock) -> Posting:
    return rules.payout_settle(
        payout_id=payout.id,
        chain_id=payout.chain_id,
        asset=payout.asset,
        amount_minor=payout.amount_minor,
        fee_minor=payout.fee_minor,
        at=clock.now(),
    )


def returned(payout: Payout, clock: Clock) -> Posting:
    """Return the posting that gives a captured payout back to its user."""
    return rules.payout_return(
        payout_id=payout.id,
        user_id=payout.user_id,
        chain_id=payout.chain_id,
        asset=payout.asset,
        total_minor=payout.amount_minor + payout.fee_minor,
        at=clock.now(),
    )


async def _open_count(session: AsyncSession, batch_id: str) -> int:
    found = await session.exec(
        select(func.count())
        .select_from(ChainTransaction)
        .where(ChainTransaction.batch_id == batch_id, col(ChainTransaction.status).in_(OPEN))
    )
    return found.one()


async def _unnotified_count(session: AsyncSession, batch_id: str) -> int:
    found = await session.exec(
        select(func.count())
        .select_from(Payout)
        .join(ChainTransaction, col(ChainTransaction.id) == col(Payout.chain_transaction_id))
        .where(
            ChainTransaction.batch_id == batch_id,
            col(Payout.status).not_in(OPEN_STATUSES),
            col(Payout.notified_at).is_(None),
        )
    )
    return found.one()
