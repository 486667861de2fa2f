"""
Whether lines of bulk payouts may be paid: their run's money is in flight, and people approved them.

What a run pays cannot be changed once it has started (the database sees to it), so what was
reckoned of its content once need not be reckoned again.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, true
from sqlalchemy import select as sa_select
from sqlalchemy.orm import Session
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import SigningRefusedError
from domain.ids import HOLD, derived_id
from domain.payouts import DecisionKind
from domain.policy import is_satisfied, parse_policy, requirement
from domain.runs import LineContent, RunStatus, lines_hash
from models.identity import Role, User
from models.ledger import Hold, HoldStatus
from models.payouts import Payout, Policy
from models.runs import PayoutRun, RunDecision

HASHES_KEPT = 256
ROWS_AT_ONCE = 2_000
"""So many lines are in memory while a run's content is reckoned."""

_hashes: dict[str, str] = {}
"""What decisions cover, by their ids."""


class _Sums(NamedTuple):
    """What a run's lines add up to."""

    line_count: int
    amounts_minor: int
    fees_minor: int
    captured_minor: int
    """Amounts and fees of the lines whose money was taken into flight."""

    def of(self, run: PayoutRun) -> bool:
        """Tell whether it is what the run was uploaded with, by which approvals are asked for."""
        asked = (run.line_count, run.total_minor, run.fee_total_minor)
        return (self.line_count, self.amounts_minor, self.fees_minor) == asked


async def check_lines(session: AsyncSession, lines: Sequence[Payout]) -> None:
    """
    Refuse lines that nobody approved, or whose money is not in flight.

    Raises:
        SigningRefusedError: With the reason.
    """
    ordered = sorted(lines, key=lambda line: str(line.run_id))
    for run_id, group in itertools.groupby(ordered, key=lambda line: str(line.run_id)):
        run = await session.get_one(PayoutRun, run_id)
        of_run = list(group)
        await _check_money(session, run, of_run)
        await _check_approvals(session, run, of_run)


async def _check_money(session: AsyncSession, run: PayoutRun, lines: Sequence[Payout]) -> None:
    _require(run.hold_id == derived_id(HOLD, run.id), "another run's hold")
    hold, sums = await _hold_of(session, run)
    is_theirs = (hold.owner, hold.asset) == (run.user_id, run.asset)
    _require(is_theirs and hold.status in (HoldStatus.PLACED, HoldStatus.CAPTURED), "no hold")
    _require(sums.of(run), "its lines are not those that were uploaded")
    _require(hold.amount_minor == sums.amounts_minor + sums.fees_minor, "another sum is held")
    for line in lines:
        _require(line.hold_id == run.hold_id and line.is_captured, "its money is not in flight")
        _require((line.user_id, line.asset) == (run.user_id, run.asset), "another customer")
    # A line is marked once and for good, so as much is marked as was ever captured.
    _require(sums.captured_minor == hold.captured_minor, "more lines than money in flight")


async def _hold_of(session: AsyncSession, run: PayoutRun) -> tuple[Hold, _Sums]:
    """
    Return the run's hold, and what its lines add up to.

    Both in one statement, which sees the database at one moment: between two of them another batch
    could take lines of the same run into flight.
    """
    paid = Payout.amount_minor + Payout.fee_minor
    sums = (
        sa_select(
            func.count().label("count"),
            func.coalesce(func.sum(Payout.amount_minor), 0).label("amounts_minor"),
            func.coalesce(func.sum(Payout.fee_minor), 0).label("fees_minor"),
            func.coalesce(func.sum(paid).filter(col(Payout.is_captured)), 0).label("captured"),
        )
        .where(col(Payout.run_id) == run.id)
        .subquery("sums")
    )
    found = await session.execute(
        sa_select(Hold, *sums.c)
        .join(sums, true())
        .where(col(Hold.id) == run.hold_id)
        .execution_options(populate_existing=True)
    )
    hold, count, amounts_minor, fees_minor, captured_minor = found.one()
    return hold, _Sums(int(count), int(amounts_minor), int(fees_minor), int(captured_minor))


async def _check_approvals(session: AsyncSession, run: PayoutRun, lines: Sequence[Payout]) -> None:
    _require(run.status != RunStatus.DRAFT, "its run was not started")
    policy = await session.get(Policy, run.policy_version)
    if policy is None:
        msg = "no policy accepted it"
        raise SigningRefusedError(msg)
    document = parse_policy(policy.document)
    needed = requirement(document, asset=run.asset, amount_minor=run.total_minor)
    found = await session.exec(
        select(RunDecision, User.roles)
        .join(User, col(User.id) == col(RunDecision.approver_id))
        .where(RunDecision.run_id == run.id, col(User.disabled_at).is_(None))
    )
    decisions = [(d, Role.APPROVER in roles) for d, roles in found]
    for decision, _ in decisions:
        await _check_content(session, run, decision)
    covered = [
        (d, is_approver, None if d.line_numbers is None else frozenset(d.line_numbers))
        for d, is_approver in decisions
    ]
    for line in lines:
        about = [(d, may) for d, may, ns in covered if ns is None or line.line_number in ns]
        rejected = any(d.decision == DecisionKind.REJECT for d, _ in about)
        _require(not rejected, "an approver rejected it")
        approvers = {d.approver_id for d, may in about if may}
        enough = is_satisfied(needed, requester=run.user_id, approvers=approvers)
        _require(enough, f"{len(approvers)} of {needed.approvals} approvals")


async def _check_content(session: AsyncSession, run: PayoutRun, decision: RunDecision) -> None:
    if decision.id not in _hashes:
        if len(_hashes) >= HASHES_KEPT:
            _hashes.clear()
        _hashes[decision.id] = await _content_hash(session, run.id, decision.line_numbers)
    _require(_hashes[decision.id] == decision.content_hash, "something else was approved")


async def _content_hash(session: AsyncSession, run_id: str, numbers: Sequence[int] | None) -> str:
    query = (
        sa_select(
            col(Payout.id),
            col(Payout.asset),
            col(Payout.amount_minor),
            col(Payout.destination),
            col(Payout.line_number),
        )
        .where(col(Payout.run_id) == run_id)
        .order_by(col(Payout.line_number))
    )
    chosen = None if numbers is None else frozenset(numbers)

    def hashed(rows: Session) -> str:
        found = rows.execute(query, execution_options={"yield_per": ROWS_AT_ONCE})
        return lines_hash(
            LineContent(payout_id, asset, amount_minor, destination)
            for payout_id, asset, amount_minor, destination, number in found
            if chosen is None or number in chosen
        )

    return await session.run_sync(hashed)


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise SigningRefusedError(otherwise)
