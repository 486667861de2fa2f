"""Starting a checked run: its lines become payouts under one hold, all in one unit of work."""

from datetime import datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.ids import HOLD, derived_id
from domain.limits import Operation
from domain.payouts import PayoutStatus
from domain.policy import limit_reservations, requirement
from domain.runs import RunStart, RunStatus
from events.outbox import publish
from ledger import rules
from ledger.service import Ledger
from limits.reservation import reserve
from models.runs import PayoutRun
from payouts.policy import current_policy
from runs.moves import content_hash
from runs.news import run_event
from runs.startable import check_startable

_INSERT_PAYOUTS = text("""
    INSERT INTO payout (id, user_id, principal, idempotency_key, request_hash, asset, chain_id,
        amount_minor, fee_minor, destination, note, status, policy_version, approvals_required,
        approval_expires_at, is_alone, priority, run_id, line_number, hold_id, is_captured,
        created_at, updated_at)
    SELECT l.payout_id, :user_id, :principal, l.run_id || '/' || l.number, :request_hash, :asset,
        :chain_id, l.amount_minor, :fee_minor, l.destination, l.note, :status, :policy_version,
        :approvals_required, :approval_expires_at, false, :priority, l.run_id, l.number, :hold_id,
        false, :now, :now
    FROM payout_run_line l WHERE l.run_id = :run_id ORDER BY l.number
""")

_INSERT_EVENTS = text("""
    INSERT INTO payout_event (payout_id, status, at)
    SELECT l.payout_id, :status, :now
    FROM payout_run_line l WHERE l.run_id = :run_id ORDER BY l.number
""")


async def freeze(session: AsyncSession, run: PayoutRun, request: RunStart, *, clock: Clock) -> None:
    """
    Check every line again, hold the total and make the lines payouts.

    Raises:
        RequestError, ConflictError: It cannot start, and nothing changed.
    """
    fee_minor = await check_startable(session, run, clock=clock)
    now = clock.now()
    policy = await current_policy(session)
    needed = requirement(policy.document, asset=run.asset, amount_minor=run.total_minor)
    is_open = needed.approvals > 0
    expires_at = now + needed.expires_after if is_open else None
    status = PayoutStatus.AWAITING_APPROVAL if is_open else PayoutStatus.READY
    hold_id = derived_id(HOLD, run.id)
    lines = {"run_id": run.id, "status": status.value, "now": now}
    payout = {
        "user_id": run.user_id,
        "principal": run.principal,
        "request_hash": run.content_sha256,
        "asset": run.asset,
        "chain_id": run.chain_id,
        "fee_minor": fee_minor,
        "policy_version": policy.version,
        "approvals_required": needed.approvals,
        "approval_expires_at": expires_at,
        "priority": run.priority,
        "hold_id": hold_id,
    }
    await session.execute(_INSERT_PAYOUTS, lines | payout)
    await session.execute(_INSERT_EVENTS, lines)
    approved = await content_hash(session, run.id)
    # All at once: whatever is written after the status has changed is refused.
    run.content_hash = approved
    run.status = RunStatus.AWAITING_APPROVAL if is_open else RunStatus.PAYING
    run.idempotency_key = request.idempotency_key
    run.policy_version, run.approvals_required = policy.version, needed.approvals
    run.approval_expires_at, run.hold_id = expires_at, hold_id
    run.started_at = run.updated_at = now
    await publish(session, run_event(run))
    await _hold(session, run, at=now)


async def _hold(session: AsyncSession, run: PayoutRun, *, at: datetime) -> None:
    policy = await current_policy(session)
    limits = limit_reservations(
        policy.document,
        asset=run.asset,
        amount_minor=run.total_minor,
        at=at,
        times=run.line_count,
    )
    posting = rules.run_freeze(
        run_id=run.id,
        hold_id=str(run.hold_id),
        user_id=run.user_id,
        asset=run.asset,
        total_minor=run.total_minor + run.fee_total_minor,
        limits=limits,
        expires_at=run.approval_expires_at,
        at=at,
    )
    await reserve(
        session,
        user_id=run.user_id,
        operation=Operation.PAYOUT,
        asset=run.asset,
        amount_minor=run.total_minor,
        at=at,
        times=run.line_count,
        hold_id=run.hold_id,
        resource_id=run.id,
    )
    await Ledger.post_in(session, [posting])
