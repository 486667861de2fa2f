"""
What is said about mixes between API, workflows and the database, and the policy on deposits.

- *In time* is what was seen before the mix expired. It is mixed, if its user still has the level,
  and its amount is within the mixer's bounds and its user's limits, each deposit by itself.
- *Late* is mixed too where the mixer's policy takes it.
- Everything else, and what was paid in for a mix that is given up, is the user's plain balance.
- What the chain takes back before it was paid out is not paid out; what was paid out by then is
  the user's debt.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

LEVEL_MIN: Final = 2
"""KYC level that a user has to have."""


class MixerStatus(StrEnum):
    """What a mixer does."""

    ACTIVE = "active"
    DRAINING = "draining"
    """Takes no new mixes, and brings those it has to their end."""
    REMOVED = "removed"
    """Has none left."""


class MixStatus(StrEnum):
    """Where a mix stands."""

    AWAITING_FUNDS = "awaiting_funds"
    """Nothing was seen yet."""
    CONFIRMING = "confirming"
    """A deposit was seen, and is not final yet."""
    MIXING = "mixing"
    """It is in the house, and leaves in parts."""
    DONE = "done"
    """All parts have left, or ended otherwise."""
    EXPIRED = "expired"
    """Nothing came in time."""
    REFUNDED = "refunded"
    """Nothing of what came was mixed: it is the user's balance."""
    CANCELLED = "cancelled"
    """Given up before the first part left; what had come is the user's balance."""
    REFUSED = "refused"
    """Never opened."""


OPEN_STATUSES: Final = (MixStatus.AWAITING_FUNDS, MixStatus.CONFIRMING, MixStatus.MIXING)
"""Where a mix is not over."""


class LotStatus(StrEnum):
    """What became of one deposit of a mix."""

    TAKEN = "taken"
    """It is mixed."""
    REFUNDED = "refunded"
    """It is its user's balance."""
    TAKEN_BACK = "taken_back"
    """Its chain has taken it back."""


class DoleStatus(StrEnum):
    """Where a dole-out stands until it is a payout."""

    PLANNED = "planned"
    RELEASED = "released"
    """It is a payout now, whose status says the rest."""
    CANCELLED = "cancelled"


class HoldKind(StrEnum):
    """Why nothing leaves of a mix until an operator lets it."""

    LEGAL = "legal"
    """An operator's wish."""
    REVIEW = "review"
    """Its amount is one that the approval policy has people look at."""
    SCREENING = "screening"
    """Screening denies an address that it would pay."""
    POLICY = "policy"
    """Its parts need approvers under the present approval policy."""


@dataclass(frozen=True)
class MixRequest:
    """A mix as it was asked for."""

    mix_id: str
    user_id: str
    principal: str
    idempotency_key: str
    request_hash: str
    mixer_id: str
    address_id: str
    """The deposit address that was made for it."""
    addresses: tuple[str, ...]
    """Where it is paid out to."""
    parts_asked: int
    second_factor: str
    """How the user proved that they want this very mix: ``totp`` or ``step_up``."""


@dataclass(frozen=True)
class MixInput:
    """Which mix a workflow is about; without a request it goes on with one that exists."""

    mix_id: str
    request: MixRequest | None = None
    is_moved: bool = False
    """Something was heard that was not looked at yet."""


@dataclass(frozen=True)
class MixAcceptance:
    """What became of a request: opened, or refused and why."""

    mix_id: str
    status: MixStatus
    request_hash: str
    reason_code: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class MixStanding:
    """Where a mix stands, for its workflow."""

    mix_id: str
    status: MixStatus
    wake_at: datetime | None = None
    """When to look again although nothing was heard; None: there is nothing to wait for."""


@dataclass(frozen=True)
class MixAction:
    """An operator's hand on a mix."""

    mix_id: str
    operator_id: str
    note: str
    gives_back: bool = False
    """With the end of a hold: what has not left is its user's balance, and nothing more leaves."""


@dataclass(frozen=True)
class MixerBooks:
    """One mixer's books at one moment: always, house = fees + owed."""

    mixer_id: str
    house_minor: int
    """What came in and has not left, by the rows of deposits and dole-outs."""
    fees_minor: int
    owed_minor: int
    """By the ledger."""
    mixes: tuple[str, ...] = ()
    """Those whose own account does not hold what is planned for them."""
    misplaced_minor: int = 0
    """By how much those are off, all differences taken together."""

    @property
    def imbalance_minor(self) -> int:
        """By how much the mixer is off; what one mix has of another's counts too."""
        return max(abs(self.house_minor - self.fees_minor - self.owed_minor), self.misplaced_minor)
