"""Changing a payout's status, always together with a line of its history and what is told."""

from collections.abc import Sequence

from sqlalchemy import bindparam, func, insert, literal, update
from sqlalchemy import select as sa_select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import String, col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import PayoutNotFoundError
from domain.payouts import PayoutOutcome, PayoutStatus
from events.outbox import enqueue
from models.payouts import Payout, PayoutEvent
from payouts.news import payout_events


async def locked_payout(session: AsyncSession, payout_id: str) -> Payout:
    """
    Return the payout with its row locked until the unit of work ends.

    Raises:
        PayoutNotFoundError: There is none.
    """
    payout = await session.get(Payout, payout_id, with_for_update=True)
    if payout is None:
        raise PayoutNotFoundError
    return payout


def begin(session: AsyncSession, payout: Payout) -> None:
    """Add a payout with the first line of its history."""
    status = PayoutStatus(payout.status)
    session.add(payout)
    session.add(PayoutEvent(payout_id=payout.id, status=status))
    enqueue(session, *payout_events([payout], status))


def move(
    session: AsyncSession,
    payouts: Sequence[Payout],
    status: PayoutStatus,
    *,
    clock: Clock,
    reason_code: str | None = None,
    detail: str | None = None,
) -> None:
    """Set the status of payouts, and note it in their histories."""
    for payout in payouts:
        payout.status = status
        payout.updated_at = clock.now()
        payout.reason_code = reason_code
        session.add(payout)
        session.add(PayoutEvent(payout_id=payout.id, status=status, detail=detail, at=clock.now()))
    enqueue(session, *payout_events(payouts, status))


async def move_all(
    session: AsyncSession,
    payouts: Sequence[Payout],
    status: PayoutStatus,
    *,
    clock: Clock,
    reason_code: str | None = None,
    detail: str | None = None,
) -> None:
    """
    Do as ``move`` does, for many locked payouts by two statements.

    The chain transaction that each names is written too; other changes must be flushed before.
    """
    if not payouts:
        return
    now = clock.now()
    ids = bindparam("ids", [payout.id for payout in payouts], ARRAY(String))
    rows = bindparam("rows", [payout.chain_transaction_id for payout in payouts], ARRAY(String))
    new = func.unnest(ids, rows).table_valued("id", "row_id").render_derived(name="new")
    for payout in payouts:
        # The session must not write again, row by row, what is written here at once.
        committed = {"status": status, "updated_at": now, "reason_code": reason_code}
        committed["chain_transaction_id"] = payout.chain_transaction_id
        for name, value in committed.items():
            set_committed_value(payout, name, value)
    await session.execute(
        update(Payout)
        .where(col(Payout.id) == new.c.id)
        .values(
            status=status,
            updated_at=now,
            reason_code=reason_code,
            chain_transaction_id=new.c.row_id,
        )
        .execution_options(synchronize_session=False)
    )
    events = sa_select(
        func.unnest(ids), literal(status.value), literal(detail, String), literal(now)
    )
    await session.execute(
        insert(PayoutEvent).from_select(["payout_id", "status", "detail", "at"], events)
    )
    enqueue(session, *payout_events(payouts, status))


def outcome_of(payout: Payout, *, txid: str | None = None) -> PayoutOutcome:
    """Return the payout's standing as workflows exchange it."""
    return PayoutOutcome(
        payout.id,
        PayoutStatus(payout.status),
        payout.reason_code,
        txid,
        payout.run_id,
        payout.mix_id,
    )
