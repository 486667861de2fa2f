"""An operator's hand on a payout that is stuck before it was signed: refund it, or try again."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import PayoutStateError
from domain.payouts import OperatorAction, PayoutOutcome, PayoutStatus
from models.chain_transactions import ChainTransaction, ChainTransactionStatus
from models.deposits import Utxo
from models.payouts import Payout
from outgoing.allocation import abandon_allocated
from outgoing.records import locked_batch, payouts_of
from outgoing.refunds import post_and_refund
from payouts.history import locked_payout, move, outcome_of

OPERATOR_REFUND = "refunded_by_operator"


async def refund(session: AsyncSession, action: OperatorAction, *, clock: Clock) -> PayoutOutcome:
    """
    Refund a batched payout that no signature exists for; a repeat answers the same.

    Raises:
        PayoutStateError: Signed already (it may be on the chain), or not in a batch at all.
    """
    payout = await session.get(Payout, action.payout_id)
    if payout is not None and payout.status == PayoutStatus.REFUNDED:
        return outcome_of(payout)
    payout, row = await _locked_pair(session, action)
    await _check_unspent(session, row)
    match row.status:
        case ChainTransactionStatus.PLANNED:
            row.status = ChainTransactionStatus.ABANDONED
            await _send_others_back(session, row, payout, clock=clock)
        case ChainTransactionStatus.ALLOCATED:
            await abandon_allocated(session, row, clock=clock)
            await _send_others_back(session, row, payout, clock=clock)
        case ChainTransactionStatus.ABANDONED:
            pass
        case _:
            msg = "The payout is signed and may be on the chain; it can only go forward."
            raise PayoutStateError(msg)
    detail = f"by {action.operator_id}"
    await post_and_refund(session, [], {OPERATOR_REFUND: [payout]}, clock=clock, detail=detail)
    return outcome_of(payout)


async def _check_unspent(session: AsyncSession, row: ChainTransaction) -> None:
    """A wallet elsewhere may have broadcast what it signed before it was brought back."""
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
    move(session, others, PayoutStatus.READY, clock=clock, detail="its transaction was given up")


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
    payout, row = await _locked_pair(session, action)
    if row.status != ChainTransactionStatus.ABANDONED:
        msg = "The payout is on its way; there is nothing to try again."
        raise PayoutStateError(msg)
    payout.chain_transaction_id = None
    detail = f"tried again by {action.operator_id}"
    move(session, [payout], PayoutStatus.READY, clock=clock, detail=detail)
    return outcome_of(payout)


async def _locked_pair(
    session: AsyncSession, action: OperatorAction
) -> tuple[Payout, ChainTransaction]:
    """Lock batch, then transaction, then payout: the order of every step of a batch."""
    found = await session.exec(
        select(ChainTransaction)
        .join(Payout, Payout.chain_transaction_id == ChainTransaction.id)  # type: ignore[arg-type]
        .where(Payout.id == action.payout_id)
    )
    seen = found.first()
    if seen is None:
        msg = "The payout is not in a batch; cancel it instead."
        raise PayoutStateError(msg)
    await locked_batch(session, seen.batch_id)
    row = await session.get_one(
        ChainTransaction, seen.id, with_for_update=True, populate_existing=True
    )
    payout = await locked_payout(session, action.payout_id)
    await session.refresh(payout)
    if payout.status != PayoutStatus.BATCHED or payout.chain_transaction_id != row.id:
        msg = f"The payout is {payout.status}; it is not stuck."
        raise PayoutStateError(msg)
    return payout, row
