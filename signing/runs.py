"""
Whether lines of bulk payouts may be paid: their run's money is in flight, and people approved them.

What a run pays cannot be changed once it has started (the database sees to it), so what was
reckoned of its content once need not be reckoned again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import any_, bindparam, func, true
from sqlalchemy import select as sa_select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import SigningRefusedError
from domain.ids import HOLD, derived_id
from domain.payouts import DecisionKind
from domain.policy import ApprovalRequirement, is_satisfied, parse_policy, requirement
from domain.runs import LineContent, LinesDigest, RunStatus
from models.chain_transactions import ChainTransaction
from models.identity import Role, User
from models.ledger import Hold, HoldStatus
from models.payouts import Payout, Policy
from models.runs import PayoutRun, RunDecision

HASHES_KEPT = 10_000
"""So many decisions' hashes are kept, the newest; each costs reading the whole run once."""

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


class _Covering(NamedTuple):
    """A decision, whether its approver may approve, and the lines it is about; None for all."""

    decision: RunDecision
    is_approver: bool
    numbers: frozenset[int] | None


class _Known(NamedTuple):
    """What one unit of work found out about a run."""

    run: PayoutRun
    needed: ApprovalRequirement
    coverings: Sequence[_Covering]


class PaidRuns:
    """
    The runs whose lines one unit of work pays: each is added up and its decisions are read once.

    The lines are read before their runs are added up. A line that was in flight then is among what
    was added up; one that came later is refused.
    """

    def __init__(self, session: AsyncSession, lines: Sequence[Payout]) -> None:
        """Take the lines that may be paid; see ``runs_paid_by``."""
        self._session = session
        # Held on to: the session lets go of what nobody refers to, and would read it again.
        self._lines = {line.id: line for line in lines}
        self._runs: dict[str, _Known | SigningRefusedError] = {}

    async def refused_among(self, lines: Sequence[Payout]) -> Mapping[str, str]:
        """Return which lines nobody approved, or have no money in flight; and why, by their ids."""
        refused: dict[str, str] = {}
        for line in lines:
            try:
                known = await self._known(str(line.run_id))
                _require(line.id in self._lines, "it came late")
                _check_money(known, line)
                _check_approvals(known, line)
            except SigningRefusedError as refusal:
                refused[line.id] = refusal.detail
        return refused

    async def _known(self, run_id: str) -> _Known:
        known = self._runs.get(run_id)
        if isinstance(known, SigningRefusedError):
            raise known
        if known is None:
            known = await self._found_out(run_id)
        return known

    async def _found_out(self, run_id: str) -> _Known:
        try:
            run = await self._session.get_one(PayoutRun, run_id)
            _require(run.hold_id == derived_id(HOLD, run.id), "another run's hold")
            hold, sums = await _hold_of(self._session, run)
            _check_sums(run, hold, sums)
            needed = await _requirement_of(self._session, run)
            known = _Known(run, needed, await _coverings_of(self._session, run))
        except SigningRefusedError as refusal:
            self._runs[run_id] = refusal
            raise
        self._runs[run_id] = known
        return known


async def runs_paid_by(session: AsyncSession, rows: Iterable[ChainTransaction]) -> PaidRuns:
    """Return the runs whose lines these transactions pay."""
    ids = bindparam(None, sorted({row.id for row in rows}), ARRAY(String))
    found = await session.exec(
        select(Payout).where(
            col(Payout.chain_transaction_id) == any_(ids), col(Payout.run_id).is_not(None)
        )
    )
    return PaidRuns(session, found.all())


def _check_sums(run: PayoutRun, hold: Hold, sums: _Sums) -> None:
    is_theirs = (hold.owner, hold.asset) == (run.user_id, run.asset)
    _require(is_theirs and hold.status in (HoldStatus.PLACED, HoldStatus.CAPTURED), "no hold")
    _require(sums.of(run), "its lines are not those that were uploaded")
    _require(hold.amount_minor == sums.amounts_minor + sums.fees_minor, "another sum is held")
    # A line is marked once and for good, so as much is marked as was ever captured.
    _require(sums.captured_minor == hold.captured_minor, "more lines than money in flight")


def _check_money(known: _Known, line: Payout) -> None:
    run = known.run
    _require(line.hold_id == run.hold_id and line.is_captured, "its money is not in flight")
    _require((line.user_id, line.asset) == (run.user_id, run.asset), "another customer")


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


async def _requirement_of(session: AsyncSession, run: PayoutRun) -> ApprovalRequirement:
    _require(run.status != RunStatus.DRAFT, "its run was not started")
    policy = await session.get(Policy, run.policy_version)
    if policy is None:
        msg = "no policy accepted it"
        raise SigningRefusedError(msg)
    document = parse_policy(policy.document)
    return requirement(document, asset=run.asset, amount_minor=run.total_minor)


async def _coverings_of(session: AsyncSession, run: PayoutRun) -> list[_Covering]:
    found = await session.exec(
        select(RunDecision, User.roles)
        .join(User, col(User.id) == col(RunDecision.approver_id))
        .where(RunDecision.run_id == run.id, col(User.disabled_at).is_(None))
    )
    coverings = [
        _Covering(
            decision,
            Role.APPROVER in roles,
            None if decision.line_numbers is None else frozenset(decision.line_numbers),
        )
        for decision, roles in found
    ]
    hashes = await _hashes_of(session, run.id, coverings)
    for decision, _, _ in coverings:
        is_same = hashes[decision.id] == decision.content_hash
        _require(is_same, "something else was approved")
    return coverings


def _check_approvals(known: _Known, line: Payout) -> None:
    about = [c for c in known.coverings if c.numbers is None or line.line_number in c.numbers]
    rejected = any(c.decision.decision == DecisionKind.REJECT for c in about)
    _require(not rejected, "an approver rejected it")
    approvers = {c.decision.approver_id for c in about if c.is_approver}
    enough = is_satisfied(known.needed, requester=known.run.user_id, approvers=approvers)
    _require(enough, f"{len(approvers)} of {known.needed.approvals} approvals")


async def _hashes_of(
    session: AsyncSession, run_id: str, coverings: Sequence[_Covering]
) -> Mapping[str, str]:
    """Return the hash of what each decision covers, by its id."""
    known = {c.decision.id: _hashes[c.decision.id] for c in coverings if c.decision.id in _hashes}
    unknown = [c for c in coverings if c.decision.id not in known]
    if unknown:
        reckoned = await _reckoned(session, run_id, unknown)
        known |= reckoned
        _hashes.update(reckoned)
        for oldest in list(_hashes)[: max(0, len(_hashes) - HASHES_KEPT)]:
            del _hashes[oldest]
    return known


async def _reckoned(
    session: AsyncSession, run_id: str, coverings: Sequence[_Covering]
) -> dict[str, str]:
    """Reckon what each of these decisions covers; reads the run once for however many."""
    digests = {c.decision.id: LinesDigest() for c in coverings}
    of_all = [digests[c.decision.id] for c in coverings if c.numbers is None]
    by_number: dict[int, list[LinesDigest]] = {}
    for covering in coverings:
        for number in covering.numbers or ():
            by_number.setdefault(number, []).append(digests[covering.decision.id])
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

    def read(rows: Session) -> None:
        found = rows.execute(query, execution_options={"yield_per": ROWS_AT_ONCE})
        for payout_id, asset, amount_minor, destination, number in found:
            content = LineContent(payout_id, asset, amount_minor, destination)
            for digest in (*of_all, *by_number.get(int(number or 0), ())):
                digest.add(content)

    await session.run_sync(read)
    return {decision_id: digest.hexdigest() for decision_id, digest in digests.items()}


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise SigningRefusedError(otherwise)
