"""
Settlement: what the chain confirmed becomes ledger entries, in bulk and once.

A reorg may mine a settled transaction again at another fee; then only the difference is posted.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.hd import EXTERNAL
from domain.payouts import OPEN_STATUSES, PayoutStatus
from domain.ports import SettleOutcome
from ledger import chart, rules
from ledger.posting import Posting
from models.chain_transactions import (
    SETTLEABLE,
    ChainBatch,
    ChainTransaction,
    ChainTransactionStatus,
)
from models.chain_transactions import ChainTransactionKind as Kind
from models.deposits import ChainAddress
from models.payouts import Payout
from models.wallets import Chain
from outgoing.fee_split import book_shares, by_transaction
from outgoing.records import OPEN, leave_unswept, locked_batch, payouts_of
from outgoing.refunds import post_and_refund
from payouts.history import move
from payouts.money import settle_postings

REVERTED_ON_CHAIN = "reverted_on_chain"
RECIPIENT_FAILED = "recipient_failed"
"""The chain paid others with the same transaction; this recipient's own code refused."""

_OWN_RULES: Mapping[str, Callable[..., Posting]] = {
    Kind.SWEEP: rules.sweep_settle,
    Kind.GAS_TOPUP: rules.gas_topup_settle,
}

logger = logging.getLogger(__name__)


async def settle(session: AsyncSession, batch_id: str, *, clock: Clock) -> SettleOutcome:
    """Post every confirmed transaction of a batch that the ledger lacks; finish its payouts."""
    batch = await locked_batch(session, batch_id)
    chain = await session.get_one(Chain, batch.chain_id)
    rows = await _settleable(session, batch_id)
    payouts = await payouts_of(session, [row.id for row in rows], lock=True)
    payer = await _payer(session, batch)
    postings = [p for row in rows for p in _own_postings(row, clock)]
    its = by_transaction(payouts)
    for row in rows:
        unpaid_minor = _unpaid_minor(row, payouts)
        postings += _fee_postings(
            row, chain.native_asset, its.get(row.id, []), payer=payer, at=clock.now()
        )
        swapped = _swapped_minor(row, its.get(row.id, []))
        postings += _swapped_postings(row, swapped, payer=payer, at=clock.now())
        postings += _cost_postings(
            row, payer, clock, unpaid_minor=unpaid_minor, swapped_minor=sum(swapped.values())
        )
        postings += _refunded_postings(row, payouts, payer, clock)
    await _release_unswept(session, rows)
    await _finish(session, rows, payouts, postings, clock=clock)
    for row in rows:
        row.fee_booked_minor = row.network_fee_minor or 0
        row.outflow_booked_minor = row.outflow_minor or 0
        row.received_booked_minor = row.received_minor or 0
        row.failed_booked = row.failed_places
        row.settled_at = row.settled_at or clock.now()
        row.settlements += 1
    await session.flush()
    is_done = await _open_count(session, batch_id) == 0
    if is_done:
        # Nobody asks for it again, so nobody would take the note away.
        batch.waiting_for = batch.waiting_since = None
    return SettleOutcome(
        is_done=is_done,
        to_notify=await _unnotified_count(session, batch_id),
        bump_after_s=chain.bump_after_s,
    )


async def _settleable(session: AsyncSession, batch_id: str) -> list[ChainTransaction]:
    found = await session.exec(
        select(ChainTransaction)
        .where(
            ChainTransaction.batch_id == batch_id,
            col(ChainTransaction.status).in_(SETTLEABLE),
            unbooked(),
        )
        .order_by(col(ChainTransaction.id))
        .with_for_update()
    )
    return list(found)


def unbooked() -> ColumnElement[bool]:
    """Return the condition that the chain says something the ledger does not have yet."""
    row = ChainTransaction
    return (
        col(row.settled_at).is_(None)
        | (col(row.fee_booked_minor) != col(row.network_fee_minor))
        | (col(row.outflow_booked_minor) != col(row.outflow_minor))
        | (col(row.received_booked_minor) != col(row.received_minor))
        | col(row.failed_booked).is_distinct_from(col(row.failed_places))
    )


async def _finish(
    session: AsyncSession,
    rows: Sequence[ChainTransaction],
    payouts: Sequence[Payout],
    postings: list[Posting],
    *,
    clock: Clock,
) -> None:
    paid, failed = _told_apart(rows, payouts)
    postings += settle_postings(paid, clock=clock)
    await post_and_refund(session, postings, failed, clock=clock)
    move(session, paid, PayoutStatus.SETTLED, clock=clock)


def _told_apart(
    rows: Sequence[ChainTransaction], payouts: Sequence[Payout]
) -> tuple[list[Payout], dict[str, list[Payout]]]:
    """Return the payouts that these transactions paid, and those that they did not, by reason."""
    paid: list[Payout] = []
    failed: dict[str, list[Payout]] = {REVERTED_ON_CHAIN: [], RECIPIENT_FAILED: []}
    for row in rows:
        its = [p for p in payouts if p.chain_transaction_id == row.id]
        for place, payout in enumerate(its):
            if payout.status != PayoutStatus.BATCHED:
                continue
            if row.status != ChainTransactionStatus.CONFIRMED:
                failed[REVERTED_ON_CHAIN].append(payout)
            elif place in (row.failed_places or ()):
                failed[RECIPIENT_FAILED].append(payout)
            else:
                paid.append(payout)
    return paid, failed


async def _payer(session: AsyncSession, batch: ChainBatch) -> str:
    """Return the omnibus account that mirrors what pays for a batch."""
    found = await session.exec(
        select(ChainAddress.id).where(
            ChainAddress.chain_id == batch.chain_id,
            ChainAddress.address == batch.wallet_address,
            ChainAddress.branch == EXTERNAL,
        )
    )
    is_deposit = found.first() is not None
    return (chart.omnibus_deposit if is_deposit else chart.omnibus_hot)(batch.chain_id)


def _payer_of(row: ChainTransaction, payer: str) -> str:
    # A sweep of coins names the hot wallet as its wallet, and spends what the deposits left.
    return chart.omnibus_deposit(row.chain_id) if row.kind == Kind.SWEEP else payer


def _own_postings(row: ChainTransaction, clock: Clock) -> list[Posting]:
    """
    Return what a transaction moved between our own addresses, less what the books have of it.

    Both ends are ours, so a reorg that undoes it leaves nothing to explain: it is taken back.
    """
    rule = _OWN_RULES.get(row.kind)
    left_minor = (row.outflow_minor or 0) - row.outflow_booked_minor
    arrived_minor = (row.received_minor or 0) - row.received_booked_minor
    if rule is None or not (left_minor or arrived_minor):
        return []
    is_paid = row.status == ChainTransactionStatus.CONFIRMED
    if not is_paid and left_minor > 0:
        logger.error("chain transaction %s lost %d on its way", row.id, left_minor)
    return [
        rule(
            chain_transaction_id=row.id,
            settlement=row.settlements,
            chain_id=row.chain_id,
            asset=row.asset,
            left_minor=left_minor,
            arrived_minor=arrived_minor,
            # A token that takes everything has not just charged for its services.
            lost=chart.network_fees(row.chain_id) if is_paid else chart.SUSPENSE,
            at=clock.now(),
        )
    ]


async def _release_unswept(session: AsyncSession, rows: Sequence[ChainTransaction]) -> None:
    """Let what a failed sweep did not move be swept again."""
    failed = [row.id for row in rows if row.status == ChainTransactionStatus.REVERTED]
    await leave_unswept(session, failed)


def _unpaid_minor(row: ChainTransaction, payouts: Sequence[Payout]) -> int:
    """Return what a transaction that paid others was to pay to those it could not pay."""
    its = [payout for payout in payouts if payout.chain_transaction_id == row.id]
    return sum(its[place].amount_minor for place in row.failed_places or ())


def _fee_postings(
    row: ChainTransaction, native_asset: str, payouts: Sequence[Payout], *, payer: str, at: datetime
) -> list[Posting]:
    """Return the posting of what the chain took, by the customers whose payouts caused it."""
    fee_minor = (row.network_fee_minor or 0) - row.fee_booked_minor
    shared = book_shares(row, payouts)
    if not fee_minor:
        return []
    return [
        rules.network_fee(
            chain_transaction_id=row.id,
            settlement=row.settlements,
            chain_id=row.chain_id,
            payer=_payer_of(row, payer),
            asset=native_asset,
            fee_minor=fee_minor,
            shared=shared,
            at=at,
        )
    ]


def _cost_postings(
    row: ChainTransaction, payer: str, clock: Clock, *, unpaid_minor: int, swapped_minor: int
) -> list[Posting]:
    """Return postings for what the transaction cost besides the amounts it paid, and the fee."""
    if row.kind in _OWN_RULES:
        return []
    booked_minor = row.outflow_booked_minor + swapped_minor
    if row.settled_at is None:
        is_paid = row.status == ChainTransactionStatus.CONFIRMED
        booked_minor = row.amount_minor - unpaid_minor if is_paid else 0
    return _outflow_postings(row, _payer_of(row, payer), clock, booked_minor)


def _refunded_postings(
    row: ChainTransaction, payouts: Sequence[Payout], payer: str, clock: Clock
) -> list[Posting]:
    """
    Return what went to payouts that were refunded, because their transaction was void.

    A reorg deeper than what counts as settled has brought it back.
    """
    is_paid = row.status == ChainTransactionStatus.CONFIRMED
    if row.kind != Kind.PAYOUT or row.settled_at is not None or not is_paid:
        return []
    its = [payout for payout in payouts if payout.chain_transaction_id == row.id]
    refunded_minor = sum(
        payout.amount_minor
        for place, payout in enumerate(its)
        if payout.status == PayoutStatus.REFUNDED and place not in (row.failed_places or ())
    )
    if not refunded_minor:
        return []
    logger.critical("chain transaction %s paid %d that was refunded", row.id, refunded_minor)
    return [
        rules.unexplained_outflow(
            chain_transaction_id=row.id,
            settlement=row.settlements,
            payer=payer,
            asset=row.asset,
            outflow_minor=refunded_minor,
            at=clock.now(),
        )
    ]


def _swapped_minor(row: ChainTransaction, payouts: Sequence[Payout]) -> Mapping[str, int]:
    """
    Return what a reorg paid to those who were refunded, and did not pay to those who were settled.

    As much may have left our wallet as before, so that nothing else would show that one is paid
    twice and the other not at all. Empty unless there are both.
    """
    if row.settled_at is None:
        return {}
    before, after = set(row.failed_booked or ()), set(row.failed_places or ())
    if not (before - after and after - before):
        return {}
    logger.critical(
        "a reorg let chain transaction %s pay %s, which were refunded, and not %s, which settled",
        row.id,
        ", ".join(payouts[place].id for place in sorted(before - after)),
        ", ".join(payouts[place].id for place in sorted(after - before)),
    )
    return {
        "paid": sum(payouts[place].amount_minor for place in before - after),
        "unpaid": -sum(payouts[place].amount_minor for place in after - before),
    }


def _swapped_postings(
    row: ChainTransaction, swapped: Mapping[str, int], *, payer: str, at: datetime
) -> list[Posting]:
    return [
        rules.unexplained_outflow(
            chain_transaction_id=row.id,
            settlement=row.settlements,
            payer=payer,
            asset=row.asset,
            outflow_minor=outflow_minor,
            at=at,
            part=part,
        )
        for part, outflow_minor in swapped.items()
    ]


def _outflow_postings(
    row: ChainTransaction, payer: str, clock: Clock, booked_minor: int
) -> list[Posting]:
    """Return what left our wallet beyond what other postings say."""
    is_paid = row.status == ChainTransactionStatus.CONFIRMED
    is_first = row.settled_at is None
    excess_minor = (row.outflow_minor or 0) - booked_minor
    if not excess_minor:
        return []
    if not (is_first and is_paid):
        # A token that took money and delivered nothing, or a reorg after settlement.
        logger.error("chain transaction %s moved %d that nobody asked for", row.id, excess_minor)
        return [
            rules.unexplained_outflow(
                chain_transaction_id=row.id,
                settlement=row.settlements,
                payer=payer,
                asset=row.asset,
                outflow_minor=excess_minor,
                at=clock.now(),
            )
        ]
    return [
        rules.token_surcharge(
            chain_transaction_id=row.id,
            chain_id=row.chain_id,
            payer=payer,
            asset=row.asset,
            surcharge_minor=excess_minor,
            at=clock.now(),
        )
    ]


async def _open_count(session: AsyncSession, batch_id: str) -> int:
    """
    Return how much of a batch is not in the books yet.

    That includes what the watcher confirmed after this unit of work had looked for it: if the
    batch's workflow ended now, nobody would ever post it.
    """
    found = await session.exec(
        select(func.count())
        .select_from(ChainTransaction)
        .where(
            ChainTransaction.batch_id == batch_id,
            col(ChainTransaction.status).in_(OPEN)
            | (col(ChainTransaction.status).in_(SETTLEABLE) & unbooked()),
        )
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
