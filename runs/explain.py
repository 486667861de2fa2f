"""Why a run is where it is, in one sentence that its owner understands."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import error_by_code
from domain.explanations import Explanation, overdue_since
from domain.payouts import DecisionKind, PayoutStatus
from domain.runs import RunStatus
from runs.queries import RunDetail, held_up_by


async def explain(session: AsyncSession, detail: RunDetail, *, now: datetime) -> Explanation:
    """Return what the run waits for, from what the database knows."""
    is_paying = detail.run.status == RunStatus.PAYING
    held_up = await held_up_by(session, detail.run.id) if is_paying else None
    return explained(detail, held_up=held_up, now=now)


def explained(detail: RunDetail, *, held_up: str | None, now: datetime) -> Explanation:
    """Return the explanation; pure."""
    match RunStatus(detail.run.status):
        case RunStatus.DRAFT:
            return _draft(detail)
        case RunStatus.AWAITING_APPROVAL:
            overdue = overdue_since(detail.run.approval_expires_at, now=now)
            return overdue or _approvals(detail)
        case RunStatus.PAYING:
            return _paying(detail, held_up)
        case RunStatus.FINISHED:
            return Explanation(f"Finished: {_listed(detail.counts.lines)}.", None)


def _draft(detail: RunDetail) -> Explanation:
    count = detail.run.problem_count
    if detail.run.waiting_for is not None:
        moment = f"{detail.run.waiting_since:%Y-%m-%d %H:%M:%S}"
        title = _title(detail.run.waiting_for)
        sentence = f"A draft that is being started: {title} since {moment} UTC; nothing is held."
        return Explanation(sentence, detail.run.waiting_for)
    if not count:
        return Explanation("A draft without problems; start it to pay.", "start")
    lines = "line has a problem" if count == 1 else "lines have problems"
    return Explanation(f"A draft: {count} {lines}; upload a corrected file.", "upload")


def _approvals(detail: RunDetail) -> Explanation:
    run = detail.run
    waiting = detail.counts.lines.get(PayoutStatus.AWAITING_APPROVAL, 0)
    approvers = {d.approver_id for d in detail.decisions if d.decision == DecisionKind.APPROVE}
    sentence = (
        f"{waiting} of {run.line_count} lines wait for approval by {run.approvals_required};"
        f" {len(approvers)} approved some or all"
    )
    if run.approval_expires_at is not None:
        sentence += f"; until {run.approval_expires_at:%Y-%m-%d %H:%M} UTC"
    return Explanation(f"{sentence}.", "approval")


def _paying(detail: RunDetail, held_up: str | None) -> Explanation:
    counts = detail.counts
    done = f"{counts.ended} of {counts.line_count} lines have ended"
    if held_up is not None:
        return Explanation(f"{done}; {_title(held_up)}.", held_up)
    ready = counts.lines.get(PayoutStatus.READY, 0)
    if ready and not detail.asset.enabled:
        sentence = f"{done}; {ready} wait until {detail.asset.code} is enabled again."
        return Explanation(sentence, "asset_disabled")
    sent = counts.lines.get(PayoutStatus.BATCHED, 0)
    waiting_for = "confirmations" if sent else "batch"
    return Explanation(f"{done}; {sent} on their way, {ready} wait for a batch.", waiting_for)


def _title(code: str) -> str:
    error = error_by_code(code)
    return error.title if error else code.replace("_", " ").capitalize()


def _listed(lines: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(lines.items()))
