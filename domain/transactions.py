"""What every operation of every unit has in common, as one list shows it. Plain values."""

from enum import StrEnum


class TransactionKind(StrEnum):
    """Which unit an operation belongs to."""

    PAYOUT = "payout"
    DEPOSIT = "deposit"


class Direction(StrEnum):
    """Whether money comes or goes, seen from the user whose list it is."""

    IN = "in"
    OUT = "out"


class TransactionState(StrEnum):
    """What the status of any unit comes to."""

    PENDING = "pending"
    """Something is still expected."""
    DONE = "done"
    FAILED = "failed"
    """It moved nothing, or what it moved came back."""
