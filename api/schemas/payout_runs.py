"""Bulk payouts as the API speaks of them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from api.schemas.payouts import AmountText, PayoutIdText
from domain.ids import PAYOUT_RUN
from domain.payouts import DecisionKind, PayoutStatus, Priority
from domain.runs import RunStanding, RunStatus
from models.runs import PayoutRun
from runs.queries import RunCounts, RunDetail, RunLine
from runs.terms import RunTerms

_RANGE = "[0-9]{1,6}(-[0-9]{1,6})?"

RunIdText = Annotated[
    str, Field(pattern=id_pattern(PAYOUT_RUN), examples=["run_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]
LinesText = Annotated[
    str,
    Field(
        max_length=10_000,
        pattern=f"^{_RANGE}(, ?{_RANGE})*$",
        description="Line numbers of the file; null or absent: every line that can be meant.",
        examples=["2-500,701"],
    ),
]
Progress = Annotated[float, Field(ge=0, le=1, description="The part of the lines that ended.")]
LineCounts = Annotated[
    dict[PayoutStatus, int],
    Field(description="How many lines are in each payout status; empty for a draft."),
]


class RunDecisionBody(StrictModel):
    """Which lines an approver decides on, and what they add."""

    lines: LinesText | None = None
    note: str | None = Field(default=None, max_length=500, examples=["checked against the list"])


class RunCancellationBody(StrictModel):
    """Which lines are taken back."""

    lines: LinesText | None = None


class RunProblemView(Answer):
    """Why a run as a whole cannot start now."""

    code: str = Field(examples=["insufficient_available_balance"])
    detail: str


class RunCheckView(Answer):
    """What the dry run says of a draft; balance, limits and policy are those of this moment."""

    can_start: bool
    problem_count: int = Field(description="Lines with a problem; see `lines?only_problems=true`.")
    problems: list[RunProblemView] = Field(description="What stands in the way of the whole run.")
    available: str = Field(description="The available balance.")
    needed: str = Field(description="Amounts and service fees of all lines.")
    network_fee_estimate: str | None = Field(
        description="Roughly what the chain takes from us, in its native asset; null: not known."
    )
    approvals_required: int
    policy_version: int


class RunDecisionView(Answer):
    """One approver's decision on a run."""

    id: str
    approver_id: UserIdText
    decision: DecisionKind
    line_count: int | None = Field(description="Null covers every line.")
    policy_version: int
    second_factor: str
    note: str | None
    decided_at: datetime


class RunView(Answer):
    """A run in a list."""

    id: RunIdText
    user_id: UserIdText
    name: str
    asset: str
    chain_id: str
    priority: Priority
    status: RunStatus
    line_count: int
    problem_count: int
    total: AmountText
    fee_total: str = Field(description="Service fees in minor units, held with the amounts.")
    content_sha256: str = Field(description="Of the uploaded bytes.")
    approvals_required: int
    approval_expires_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime


class RunDetailView(RunView):
    """A run with everything about it but its lines."""

    progress: Progress
    lines: LineCounts
    check: RunCheckView | None = Field(description="Of a draft; null once it was started.")
    decisions: list[RunDecisionView]
    workflow_id: str
    workflow_url: str | None


class RunLineView(Answer):
    """A line of a run."""

    number: int = Field(description="Where it stands in the file; a CSV's header is line 1.")
    destination: str
    amount: AmountText
    reference: str | None
    note: str | None
    problem: RunProblemView | None = Field(description="What the dry run found.")
    payout_id: PayoutIdText | None = Field(description="Null before the run is started.")
    status: PayoutStatus | None
    reason_code: str | None
    txid: str | None
    network_fee: str | None = Field(description="Its share, in the chain's native asset.")
    retried_by: PayoutIdText | None = Field(description="The payout that pays it again.")


class RunLinesView(Answer):
    """A page of a run's lines, in the file's order."""

    items: list[RunLineView]
    next_cursor: str | None = Field(
        default=None, description="Ask again with this `cursor` for the next page; null: the end."
    )


class RunExplanationView(Answer):
    """What the run waits for."""

    run_id: RunIdText
    status: RunStatus
    explanation: str = Field(examples=["412 of 500 lines have ended; 88 on their way."])
    waiting_for: str | None = Field(examples=["confirmations"])


class RunStandingView(Answer):
    """Where the run stands after a decision or a cancellation."""

    run_id: RunIdText
    status: RunStatus
    lines: LineCounts


class RunEventView(RunStandingView):
    """Where the run stands, as the stream of events tells it."""

    line_count: int
    ended: int
    progress: Progress
    is_final: bool


def run_view(run: Any) -> RunView:
    """Return a run as it appears in lists."""
    return RunView(**_shared(run))


def run_detail_view(
    detail: RunDetail,
    terms: RunTerms | None,
    *,
    workflow_id: str,
    workflow_url: str | None,
) -> RunDetailView:
    """Return a run with everything about it; ``terms`` are those of a draft."""
    return RunDetailView(
        **_shared(detail.run),
        progress=detail.counts.progress,
        lines=_counts(detail.counts.lines),
        check=None if terms is None else _check(detail.run, terms),
        decisions=[
            RunDecisionView(
                id=d.id,
                approver_id=d.approver_id,
                decision=DecisionKind(d.decision),
                line_count=None if d.line_numbers is None else len(d.line_numbers),
                policy_version=d.policy_version,
                second_factor=d.second_factor,
                note=d.note,
                decided_at=d.decided_at,
            )
            for d in detail.decisions
        ],
        workflow_id=workflow_id,
        workflow_url=workflow_url,
    )


def run_line_view(found: RunLine) -> RunLineView:
    """Return a line with its payout."""
    line, payout = found.line, found.payout
    fee_minor = None if payout is None else payout.network_fee_minor
    return RunLineView(
        number=line.number,
        destination=line.destination,
        amount=str(line.amount_minor),
        reference=line.reference,
        note=line.note,
        problem=None
        if line.problem_code is None
        else RunProblemView(code=line.problem_code, detail=line.problem_detail or ""),
        payout_id=None if payout is None else payout.id,
        status=None if payout is None else PayoutStatus(payout.status),
        reason_code=None if payout is None else payout.reason_code,
        txid=found.txid,
        network_fee=None if fee_minor is None else str(fee_minor),
        retried_by=found.retried_by,
    )


def run_standing_view(standing: RunStanding) -> RunStandingView:
    """Return where a run stands, as its workflow said."""
    return RunStandingView(
        run_id=standing.run_id, status=standing.status, lines=_counts(standing.lines)
    )


def run_event_view(run_id: str, counts: RunCounts) -> RunEventView:
    """Return where a run stands, for the stream of events."""
    return RunEventView(
        run_id=run_id,
        status=counts.status,
        lines=_counts(counts.lines),
        line_count=counts.line_count,
        ended=counts.ended,
        progress=counts.progress,
        is_final=counts.status == RunStatus.FINISHED,
    )


def _counts(lines: dict[str, int]) -> dict[PayoutStatus, int]:
    return {PayoutStatus(status): count for status, count in sorted(lines.items())}


def _check(run: PayoutRun, terms: RunTerms) -> RunCheckView:
    estimate_minor = terms.network_fee_estimate_minor
    return RunCheckView(
        can_start=not (run.problem_count or terms.problems),
        problem_count=run.problem_count,
        problems=[RunProblemView(code=p.code, detail=p.detail) for p in terms.problems],
        available=str(terms.available_minor),
        needed=str(run.total_minor + run.fee_total_minor),
        network_fee_estimate=None if estimate_minor is None else str(estimate_minor),
        approvals_required=terms.approvals_required,
        policy_version=terms.policy_version,
    )


def _shared(run: Any) -> dict[str, Any]:
    return {
        "id": run.id,
        "user_id": run.user_id,
        "name": run.name,
        "asset": run.asset,
        "chain_id": run.chain_id,
        "priority": run.priority,
        "status": run.status,
        "line_count": run.line_count,
        "problem_count": run.problem_count,
        "total": str(run.total_minor),
        "fee_total": str(run.fee_total_minor),
        "content_sha256": run.content_sha256,
        "approvals_required": run.approvals_required,
        "approval_expires_at": run.approval_expires_at,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "updated_at": run.updated_at,
    }
