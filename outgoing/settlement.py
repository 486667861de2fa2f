"""
Settlement: what the chain confirmed becomes ledger entries, in bulk and once.

A reorg may mine a settled transaction again at another fee; then only the difference is posted.
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, any_, bindparam, func, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.payouts import OPEN_STATUSES, PayoutStatus
from domain.pockets import Route
from domain.ports import SettleOutcome
from ledger import chart, pocket_rules, rules
from ledger.posting import Posting
from models.chain_transactions import (
    SETTLEABLE,
    ChainTransaction,
    ChainTransactionStatus,
)
from models.chain_transactions import ChainTransactionKind as Kind
from models.payouts import Payout
from models.wallets import Chain
from outgoing import pocket_settlement
from outgoing.conversions import settling_conversions
from outgoing.fee_split import book_shares, write_shares
from outgoing.pocket_settlement import Payer
from outgoing.records import OPEN, by_transaction, leave_unswept, locked_batch, payouts_of
from outgoing.refunds import post_and_refund
from payouts.history import move_all
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
    payouts = await payouts_of(session, [_serves(row) for row in rows], lock=True)
    payer = await pocket_settlement.payer_of(session, batch)
    owners = await pocket_settlement.owners_of_pockets(session, rows)
    postings = [p for row in rows for p in _own_postings(row, owners.get(row.id), clock)]
    its = by_transaction(payouts)
    mined = {row.id for row in rows if row.status == ChainTransactionStatus.CONFIRMED}
    moved = [payout for payout in payouts if payout.chain_transaction_id in mined]
    conversions = await settling_conversions(session, payouts, moved, clock=clock)
    for row in rows:
        paid = its.get(row.id, [])
        served = its.get(_serves(row), [])
        swapped = _swapped_minor(row, paid)
        postings += _fee_postings(row, chain.native_asset, served, payer=payer, clock=clock)
        postings += _swapped_postings(row, swapped, payer=payer.account, at=clock.now())
        postings += _cost_postings(
            row, payer.account, clock, payouts=paid, swapped_minor=sum(swapped.values())
        )
        postings += _refunded_postings(row, paid, payer.account, clock)
        postings += pocket_settlement.transfer_postings(
            row, paid, conversions=conversions, at=clock.now()
        )
    await write_shares(session, payouts)
    await _release_unswept(session, rows)
    await _finish(session, rows, its, postings, clock=clock)
    await _mark_booked(session, rows, clock=clock)
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
    its: Mapping[str, Sequence[Payout]],
    postings: list[Posting],
    *,
    clock: Clock,
) -> None:
    paid, failed = _told_apart(rows, its)
    postings += settle_postings(paid, clock=clock)
    await post_and_refund(session, postings, failed, clock=clock)
    await move_all(session, paid, PayoutStatus.SETTLED, clock=clock)


async def _mark_booked(
    session: AsyncSession, rows: Sequence[ChainTransaction], *, clock: Clock
) -> None:
    """Write at once that the ledger has what the chain says of these transactions."""
    ids = bindparam("ids", [row.id for row in rows], ARRAY(String))
    row = ChainTransaction
    await session.execute(
        update(row)
        .where(col(row.id) == any_(ids))
        .values(
            fee_booked_minor=func.coalesce(row.network_fee_minor, 0),
            outflow_booked_minor=func.coalesce(row.outflow_minor, 0),
            received_booked_minor=func.coalesce(row.received_minor, 0),
            failed_booked=row.failed_places,
            settled_at=func.coalesce(row.settled_at, clock.now()),
            settlements=row.settlements + 1,
        )
        .execution_options(synchronize_session=False)
    )


def _told_apart(
    rows: Sequence[ChainTransaction], its: Mapping[str, Sequence[Payout]]
) -> tuple[list[Payout], dict[str, list[Payout]]]:
    """Return the payouts that these transactions paid, and those that they did not, by reason."""
    paid: list[Payout] = []
    failed: dict[str, list[Payout]] = {REVERTED_ON_CHAIN: [], RECIPIENT_FAILED: []}
    for row in rows:
        for place, payout in enumerate(its.get(row.id, ())):
            if payout.status != PayoutStatus.BATCHED:
                continue
            if row.status != ChainTransactionStatus.CONFIRMED:
                failed[REVERTED_ON_CHAIN].append(payout)
            elif place in (row.failed_places or ()):
                failed[RECIPIENT_FAILED].append(payout)
            else:
                paid.append(payout)
    return paid, failed


def _serves(row: ChainTransaction) -> str:
    """Return the id of the transaction whose payouts bear the fee: a child carries its parent."""
    return row.parent_id or row.id if row.kind == Kind.FEE_CHILD else row.id


def _payer_of(row: ChainTransaction, payer: str) -> str:
    # A sweep of coins names the hot wallet as its wallet, and spends what the deposits left.
    return chart.omnibus_deposit(row.chain_id) if row.kind == Kind.SWEEP else payer


def _own_postings(row: ChainTransaction, pocket_user_id: str | None, clock: Clock) -> list[Posting]:
    """
    Return what a transaction moved between our own addresses, less what the books have of it.

    Both ends are ours, so a reorg that undoes it leaves nothing to explain: it is taken back.
    """
    rule = _OWN_RULES.get(row.kind)
    if rule is not None and pocket_user_id is not None:
        rule = functools.partial(pocket_rules.pocket_gas_lent, user_id=pocket_user_id)
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
    return sum(payouts[place].amount_minor for place in row.failed_places or ())


def _fee_postings(
    row: ChainTransaction,
    native_asset: str,
    payouts: Sequence[Payout],
    *,
    payer: Payer,
    clock: Clock,
) -> list[Posting]:
    """Return the posting of what the chain took, by the customers whose payouts caused it."""
    fee_minor = (row.network_fee_minor or 0) - row.fee_booked_minor
    shared = book_shares(row, payouts)
    if payer.pocket_user_id is not None:
        return pocket_settlement.gas_postings(
            row,
            payouts,
            owner=payer.pocket_user_id,
            native_asset=native_asset,
            fee_minor=fee_minor,
            shared=shared,
            clock=clock,
        )
    if not fee_minor:
        return []
    return [
        rules.network_fee(
            chain_transaction_id=row.id,
            settlement=row.settlements,
            chain_id=row.chain_id,
            payer=_payer_of(row, payer.account),
            asset=native_asset,
            fee_minor=fee_minor,
            shared=shared,
            at=clock.now(),
        )
    ]


def _cost_postings(
    row: ChainTransaction,
    payer: str,
    clock: Clock,
    *,
    payouts: Sequence[Payout],
    swapped_minor: int,
) -> list[Posting]:
    """Return postings for what the transaction cost besides the amounts it paid, and the fee."""
    if row.kind in _OWN_RULES or row.kind == Kind.POCKET_SPEND:
        return []
    is_paid = row.status == ChainTransactionStatus.CONFIRMED
    if row.settled_at is None:
        booked_minor = row.amount_minor - _unpaid_minor(row, payouts) if is_paid else 0
    else:
        booked_minor = row.outflow_booked_minor + swapped_minor
        booked_minor += pocket_settlement.funded_minor(row, payouts)
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
    refunded_minor = sum(
        payout.amount_minor
        for place, payout in enumerate(payouts)
        if payout.status == PayoutStatus.REFUNDED
        and payout.route == Route.PAYOUT
        and place not in (row.failed_places or ())
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
    # The books follow the chain with what pays a pocket; see ``outgoing.pocket_settlement``.
    others = {place for place, payout in enumerate(payouts) if payout.route == Route.PAYOUT}
    before, after = others & set(row.failed_booked or ()), others & set(row.failed_places or ())
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
