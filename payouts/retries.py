"""
Paying a line of a run again that the chain did not pay.

The failed line stays what it is: its money is back on the available balance, and what pays it again
is a payout of its own, with a hold, approvals and checks of its own. It is one at a time, and never
after one that paid.
"""

from sqlalchemy import and_, func
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import PayoutNotFoundError, PayoutStateError
from domain.payouts import OPEN_STATUSES, PayoutRequest, PayoutStatus
from models.chain_transactions import SETTLEABLE, ChainTransaction, ChainTransactionStatus
from models.payouts import Payout
from payouts.history import locked_payout

LASTING = (*OPEN_STATUSES, PayoutStatus.SETTLED)
"""While a retry stands there no other is made; the index ``payout_retried_once`` says so too."""

FINAL = (*SETTLEABLE, ChainTransactionStatus.ABANDONED)


async def check_retry(session: AsyncSession, request: PayoutRequest, *, destination: str) -> None:
    """
    Pass for a request that pays again what failed for good.

    Whoever makes the payout then has locked what failed before; see ``lock_failed``.

    Raises:
        PayoutNotFoundError: There is no such payout.
        PayoutStateError: It did not fail, may still be paid, is paid again already, or is another.
    """
    failed = await session.get(Payout, request.retry_of)
    if failed is None:
        raise PayoutNotFoundError
    wanted = (request.user_id, request.asset, request.amount_minor, destination)
    is_same = wanted == (failed.user_id, failed.asset, failed.amount_minor, failed.destination)
    if failed.run_id is None or not is_same:
        msg = "A retry pays a line of a run of the same user, as it was."
        raise PayoutStateError(msg)
    if failed.status != PayoutStatus.REFUNDED:
        msg = f"The line is {failed.status}; only what the chain did not pay is paid again."
        raise PayoutStateError(msg)
    for attempt in await _attempts(session, failed):
        if attempt.status in LASTING:
            msg = f"The line is paid again already, by {attempt.id}, which is {attempt.status}."
            raise PayoutStateError(msg)
        if attempt.status == PayoutStatus.REFUNDED:
            await _check_failed_for_good(session, attempt)


async def lock_failed(session: AsyncSession, request: PayoutRequest) -> None:
    """
    Let one retry of a line after the other be made, until the unit of work ends.

    Raises:
        PayoutNotFoundError: There is no such payout.
    """
    await locked_payout(session, str(request.retry_of))


async def _attempts(session: AsyncSession, failed: Payout) -> list[Payout]:
    found = await session.exec(select(Payout).where(Payout.retry_of == failed.id))
    return [failed, *found]


async def _check_failed_for_good(session: AsyncSession, attempt: Payout) -> None:
    """A reorg may have brought back what was refunded, or let nobody know for a while."""
    row = await session.get(ChainTransaction, attempt.chain_transaction_id or "")
    if row is None:
        # An operator refunded it before any transaction had it.
        return
    if row.status not in FINAL:
        msg = "A reorg has made the chain transaction that failed uncertain; try again later."
        raise PayoutStateError(msg)
    if row.status == ChainTransactionStatus.CONFIRMED:
        place = await _place(session, attempt)
        if place not in (row.failed_places or ()):
            msg = "The chain has paid the line after all."
            raise PayoutStateError(msg)


async def _place(session: AsyncSession, attempt: Payout) -> int:
    """Return where a payout stands among those of its transaction, by id from 0."""
    before, own = aliased(Payout), Payout
    found = await session.exec(
        select(func.count(col(before.id)))
        .select_from(own)
        .join(
            before,
            and_(
                col(before.chain_transaction_id) == col(own.chain_transaction_id),
                col(before.id) < col(own.id),
            ),
        )
        .where(col(own.id) == attempt.id)
    )
    return int(found.one())
