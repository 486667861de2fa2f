"""What the ledger is asked to post: balanced entries, with at most one hold that they move."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.errors import UnbalancedTransactionError
from domain.policy import LimitReservation


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: positive credits the account, negative debits it; in minor units."""

    account: str
    asset: str
    amount_minor: int


class HoldOperation(StrEnum):
    """What a posting does to its hold."""

    PLACE = "place"
    CAPTURE = "capture"
    RELEASE = "release"
    EXPIRE = "expire"
    CAPTURE_PART = "capture_part"
    """Takes a part; the hold ends when nothing is left of it."""
    RELEASE_PART = "release_part"


@dataclass(frozen=True, slots=True)
class HoldChange:
    """The hold that a posting places or ends, and the limit counters that go with it."""

    operation: HoldOperation
    hold_id: str
    owner: str
    asset: str
    amount_minor: int
    """Placed amount, or the part that is captured or released."""
    expires_at: datetime | None = None
    limits: tuple[LimitReservation, ...] = ()
    """Raised when it is placed; lowered when a part is released."""
    pocket: str | None = None
    """Chain id of the owner's pocket, where the money is on-chain."""

    def as_json(self) -> dict[str, Any]:
        """Return the shape that the SQL function ``ledger_post`` takes."""
        # Most holds are of the off-chain balance: that is how they were written before pockets.
        pocket = {} if self.pocket is None else {"pocket": self.pocket}
        return pocket | {
            "op": self.operation,
            "id": self.hold_id,
            "owner": self.owner,
            "asset": self.asset,
            "amount": str(self.amount_minor),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "limits": [_limit_json(limit) for limit in self.limits],
        }


@dataclass(frozen=True, slots=True)
class Posting:
    """
    One ledger transaction to be.

    Raises:
        UnbalancedTransactionError: The entries of some asset do not sum to zero.
    """

    key: str
    """Idempotency key: the same key posts once, whoever repeats it."""
    rule: str
    resource: str | None
    entries: tuple[Entry, ...]
    effective_at: datetime
    hold: HoldChange | None = None
    reverses: int | None = field(default=None)

    def __post_init__(self) -> None:
        """Check the balance here as the database does, so that the fault shows its caller."""
        assert_balanced(self.entries)

    def as_json(self) -> dict[str, Any]:
        """Return the shape that the SQL function ``ledger_post`` takes."""
        return {
            "key": self.key,
            "rule": self.rule,
            "resource": self.resource,
            "reverses": self.reverses,
            "effective_at": self.effective_at.isoformat(),
            "entries": [[e.account, e.asset, str(e.amount_minor)] for e in self.entries],
            "hold": self.hold.as_json() if self.hold else None,
        }


@dataclass(frozen=True, slots=True)
class Posted:
    """A ledger transaction that exists; ``is_new`` tells whether this call made it."""

    key: str
    transaction_id: int
    is_new: bool


def assert_balanced(entries: Sequence[Entry]) -> None:
    """Refuse entries that are zero, single, or do not sum to zero for each asset."""
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.asset] = sums.get(entry.asset, 0) + entry.amount_minor
    has_zero = any(entry.amount_minor == 0 for entry in entries)
    if has_zero or not entries or any(sums.values()):
        msg = "Entries must be non-zero and sum to zero for each asset."
        raise UnbalancedTransactionError(msg)


def _limit_json(limit: LimitReservation) -> dict[str, Any]:
    # One payment says nothing of its count: that is how it was written before there were others.
    times = {"count": limit.times} if limit.times != 1 else {}
    return times | {
        "name": limit.name,
        "window_start": limit.window_start.isoformat(),
        "amount": str(limit.amount_minor),
        "amount_cap": str(limit.amount_cap_minor) if limit.amount_cap_minor is not None else None,
        "count_cap": limit.count_cap,
    }
