"""What is said about deposits between watcher, workflows, API and database. Plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class DepositStatus(StrEnum):
    """Where a deposit stands."""

    SEEN = "seen"
    """In a pool, or in a block that left the chain; in no canonical block now."""
    CONFIRMING = "confirming"
    """In a canonical block, not yet deep enough."""
    CREDITED = "credited"
    """In the ledger: on the customer's balance, or among what nobody may claim."""
    FORGOTTEN = "forgotten"
    """Replaced, double-spent or reorganized away before it was credited."""
    REVERSED = "reversed"
    """Reorganized away after it was credited; the ledger took it back."""
    IGNORED = "ignored"
    """Of an asset that is not in the catalog: recorded, and in no book."""


UNCREDITED = frozenset({DepositStatus.SEEN, DepositStatus.CONFIRMING, DepositStatus.FORGOTTEN})
"""What the ledger has never heard of."""


class DepositReason(StrEnum):
    """Why a deposit is recorded and not credited to its customer."""

    BELOW_MINIMUM = "below_minimum"
    UNLISTED_ASSET = "unlisted_asset"
    ASSET_DISABLED = "asset_disabled"


@dataclass(frozen=True)
class DepositInput:
    """Which deposit a workflow is about; everything else is in the database."""

    deposit_id: str


@dataclass(frozen=True)
class DepositStanding:
    """Where a deposit stands, for its workflow; amounts as decimal strings of minor units."""

    deposit_id: str
    status: DepositStatus
    amount: str
    asset: str | None
    confirmations: int
    confirmations_required: int
    is_waiting: bool
    """Something is still expected: a block, or the depth that the amount asks for."""
    purchase_id: str | None = None
    """The purchase that it pays, which is told."""
    mix_id: str | None = None
    """The mix that it is for, which is told."""
    mix_queue: str | None = None
    """The task queue of that mix."""


@dataclass(frozen=True, slots=True)
class ConfirmationTier:
    """Amounts up to this many minor units need this many confirmations; None is any amount."""

    up_to_minor: int | None
    confirmations: int


def confirmations_for(
    amount_minor: int, tiers: Sequence[ConfirmationTier], *, otherwise: int
) -> int:
    """
    Return how deep a deposit of this amount must lie; ``otherwise`` where no tier covers it.

    Above the highest tier it is never less than within it: more money never needs fewer.
    """
    for tier in tiers:
        if tier.up_to_minor is None or amount_minor <= tier.up_to_minor:
            return tier.confirmations
    return max([otherwise, *(tier.confirmations for tier in tiers)])
