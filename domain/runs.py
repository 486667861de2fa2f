"""What is said about bulk payouts between API, workflows and the database. Plain values."""

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from domain.errors import InvalidLinesError
from domain.payouts import DecisionKind

LINES_MAX = 100_000
"""Most payments that one run carries."""


_LINES = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
"""A line or a range of them; ``2 * LINES_MAX`` has as many digits."""


class RunStatus(StrEnum):
    """Where a run stands; its lines each have a payout's status of their own."""

    DRAFT = "draft"
    """Uploaded and checked; nothing is held, and it may be discarded."""
    AWAITING_APPROVAL = "awaiting_approval"
    """All of it is held; people are asked about lines that nobody decided on yet."""
    PAYING = "paying"
    """Every line is decided on, and some are on their way."""
    FINISHED = "finished"
    """Every line has ended, in whichever way."""


class LineContent(NamedTuple):
    """What an approver approves of a line."""

    payout_id: str
    asset: str
    amount_minor: int
    destination: str


class LinesDigest:
    """The SHA-256 over what lines pay, given in order of line number."""

    def __init__(self) -> None:
        """Begin without a line."""
        self._digest = hashlib.sha256()

    def add(self, line: LineContent) -> None:
        """Take one more line in."""
        content = "\x1f".join(
            (line.payout_id, line.asset, str(line.amount_minor), line.destination)
        )
        self._digest.update(content.encode() + b"\x1e")

    def hexdigest(self) -> str:
        """Return what it is of the lines so far, hex."""
        return self._digest.hexdigest()


def lines_hash(lines: Iterable[LineContent]) -> str:
    """Return the SHA-256 over what these lines pay, in order of line number, hex."""
    digest = LinesDigest()
    for line in lines:
        digest.add(line)
    return digest.hexdigest()


class LineRange(NamedTuple):
    """Lines from first to last, both of them too."""

    first: int
    last: int


def parse_lines(text: str) -> tuple[LineRange, ...]:
    """
    Return the ranges that such text as ``2-500,701`` names, in order and without overlap.

    Raises:
        InvalidLinesError: It names none, or is written otherwise.
    """
    found: list[LineRange] = []
    for part in text.split(","):
        match = _LINES.fullmatch(part.strip())
        if match is None:
            msg = f"{part.strip()[:40]!r} names no lines; write 7 or 2-500."
            raise InvalidLinesError(msg)
        found.append(LineRange(int(match[1]), int(match[2] or match[1])))
    ordered = sorted(found)
    for before, after in itertools.pairwise(ordered):
        if after.first <= before.last:
            msg = f"Line {after.first} is named twice."
            raise InvalidLinesError(msg)
    if any(r.first < 1 or r.last < r.first or r.last > 2 * LINES_MAX for r in ordered):
        msg = "Ranges go from a first line to a later one."
        raise InvalidLinesError(msg)
    return tuple(ordered)


def numbers_in(ranges: Iterable[LineRange]) -> Iterator[int]:
    """Yield each line's number."""
    for one in ranges:
        yield from range(one.first, one.last + 1)


@dataclass(frozen=True)
class RunStart:
    """The wish to pay a checked run."""

    run_id: str
    principal: str
    idempotency_key: str


@dataclass(frozen=True)
class RunAcceptance:
    """What became of it: held, or refused and why. A refused run is a draft as before."""

    run_id: str
    status: RunStatus
    idempotency_key: str | None = None
    """Of whoever started it first."""
    reason_code: str | None = None
    reason: str | None = None
    approvals_required: int = 0
    approval_expires_at: datetime | None = None


@dataclass(frozen=True)
class RunDecisionRequest:
    """One approver's word on a run, or on chosen lines; ``decision_id`` makes a repeat harmless."""

    decision_id: str
    run_id: str
    approver_id: str
    kind: DecisionKind
    second_factor: str
    lines: str | None = None
    """As ``parse_lines`` takes them; None for every line that awaits approval."""
    note: str | None = None


@dataclass(frozen=True)
class RunCancellation:
    """The requester takes back what no batch has taken; ``action_id`` makes a repeat harmless."""

    action_id: str
    run_id: str
    lines: str | None = None


@dataclass(frozen=True)
class RunStanding:
    """Where a run stands, and how many of its lines are in each status."""

    run_id: str
    status: RunStatus
    lines: dict[str, int] = field(default_factory=dict)
    """By ``PayoutStatus``; statuses without lines are left out."""
