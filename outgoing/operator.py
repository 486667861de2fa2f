"""
An operator's hand on a payout that is stuck: refund it, or try again.

Both are for what nobody can broadcast: it was never signed, nor handed out to be signed elsewhere,
or it can never be mined any more.
"""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import PayoutStateError
from domain.payouts import OperatorAction, PayoutOutcome, PayoutStatus
from models.chain_transactions import ChainTransaction, ChainTransactionStatus
from models.deposits import Utxo
from models.ledger import Hold, HoldStatus
from models.payouts import Payout
from outgoing.allocation import GIVEN_UP, abandon_allocated
from outgoing.records import locked_batch, payouts_of, sealed_among
from outgoing.refunds import post_and_refund
from outgoing.voids import give_up_void_in
from payouts.history import locked_payout, move, outcome_of
from payouts.screening import denied_among

OPERATOR_REFUND = "refunded_by_operator"


async def refund(session: AsyncSession, action: OperatorAction, *, clock: Clock) -> PayoutOutcome:
    """
    Refund a payout that nobody can broadcast: its money is in flight, or its destination denied.

    A repeat answers the same.

    Raises:
        PayoutStateError: Signed already, here or elsewhere (it may be on the chain), or its money
            is still held for it.
    """
    payout = await session.get(Payout, action.payout_id)
    if payout is not None and payout.status == PayoutStatus.REFUNDED:
        return outcome_of(payout)
    payout = await _waiting(session, action) or await _taken_off(session, action, clock=clock)
    detail = f"by {action.operator_id}"
    await post_and_refund(session, [], {OPERATOR_REFUND: [payout]}, clock=clock, detail=detail)
    return outcome_of(payout)


async def _waiting(session: AsyncSession, action: OperatorAction) -> Payout | None:
    """Return the locked payout if it waits: with its money in flight, or denied by screening."""
    seen = await session.get(Payout, action.payout_id)
    if seen is None or seen.status != PayoutStatus.READY:
        return None
    payout = await locked_payout(session, action.payout_id)
    await session.refresh(payout)
    if payout.status != PayoutStatus.READY:
        # Its batch would have to be locked before it.
        msg = "The payout has just moved on; look at it again."
        raise PayoutStateError(msg)
    hold = await session.get(Hold, payout.hold_id)
    is_captured = hold is not None and hold.status == HoldStatus.CAPTURED
    if payout.run_id is not None:
        is_captured = payout.is_captured
    # No batch takes what screening denies, so it would wait with its money held for ever.
    may_refund = is_captured or await denied_among(session, [payout])
    return payout if may_refund else None


async def _taken_off(session: AsyncSession, action: OperatorAction, *, clock: Clock) -> Payout:
    """Return the locked payout, which its chain transaction pays no longer."""
    payout, row = await _locked_pair(session, action, clock=clock)
    match row.status:
        case ChainTransactionStatus.ABANDONED:
            return payout
        case ChainTransactionStatus.PLANNED:
            row.status = ChainTransactionStatus.ABANDONED
        case ChainTransactionStatus.ALLOCATED:
            await _check_never_handed_out(session, row)
            await abandon_allocated(session, row, clock=clock)
        case _:
            msg = "The payout is signed and may be on the chain; it can only go forward."
            raise PayoutStateError(msg)
    await _send_others_back(session, row, payout, clock=clock)
    return payout


async def _check_never_handed_out(session: AsyncSession, row: ChainTransaction) -> None:
    """A wallet elsewhere may broadcast what was exported to it, or has done so already."""
    if await sealed_among(session, [row.id]):
        msg = "It was exported to be signed elsewhere: whoever has it can broadcast it at any time."
        raise PayoutStateError(msg)
    spent = await session.exec(
        select(Utxo.txid).where(Utxo.locked_by == row.id, col(Utxo.spent_txid).is_not(None))
    )
    if spent.first() is not None:
        msg = "Its coins are spent on the chain: it may be paid. Import its signature instead."
        raise PayoutStateError(msg)


async def _send_others_back(
    session: AsyncSession, row: ChainTransaction, payout: Payout, *, clock: Clock
) -> None:
    """Make ready again what shared a transaction with a payout that is refunded."""
    others = [p for p in await payouts_of(session, [row.id], lock=True) if p.id != payout.id]
    for other in others:
        other.chain_transaction_id = None
    move(session, others, PayoutStatus.READY, clock=clock, detail=GIVEN_UP)


async def retry(session: AsyncSession, action: OperatorAction, *, clock: Clock) -> PayoutOutcome:
    """
    Make a payout whose chain transaction was given up ready for another batch.

    A repeat answers the same. Its money stays in flight: capturing the hold again is the same
    ledger key and posts nothing.

    Raises:
        PayoutStateError: Its chain transaction is still on its way, or there is none.
    """
    payout = await session.get(Payout, action.payout_id)
    if payout is not None and payout.status == PayoutStatus.READY:
        return outcome_of(payout)
    payout, row = await _locked_pair(session, action, clock=clock)
    if row.status != ChainTransactionStatus.ABANDONED:
        msg = "The payout is on its way; there is nothing to try again."
        raise PayoutStateError(msg)
    if await sealed_among(session, [row.id]):
        msg = "The payout was signed once and is never signed again; refund it instead."
        raise PayoutStateError(msg)
    payout.chain_transaction_id = None
    detail = f"tried again by {action.operator_id}"
    move(session, [payout], PayoutStatus.READY, clock=clock, detail=detail)
    return outcome_of(payout)


async def _locked_pair(
    session: AsyncSession, action: OperatorAction, *, clock: Clock
) -> tuple[Payout, ChainTransaction]:
    """
    Lock batch, then transaction, then payout: the order of every step of a batch.

    What can never be mined any more is given up first.
    """
    found = await session.exec(
        select(ChainTransaction)
        .join(Payout, Payout.chain_transaction_id == ChainTransaction.id)  # type: ignore[arg-type]
        .where(Payout.id == action.payout_id)
    )
    seen = found.first()
    if seen is None:
        msg = "The payout is not in a batch; cancel it instead."
        raise PayoutStateError(msg)
    await give_up_void_in(session, await locked_batch(session, seen.batch_id), clock=clock)
    row = await session.get_one(
        ChainTransaction, seen.id, with_for_update=True, populate_existing=True
    )
    payout = await locked_payout(session, action.payout_id)
    await session.refresh(payout)
    if payout.status != PayoutStatus.BATCHED or payout.chain_transaction_id != row.id:
        msg = f"The payout is {payout.status}; it is not stuck."
        raise PayoutStateError(msg)
    return payout, row
