"""What every operation of every unit has in common, as one list shows it. Plain values."""

from enum import StrEnum


class TransactionKind(StrEnum):
    """Which unit an operation belongs to."""

    PAYOUT = "payout"
    DEPOSIT = "deposit"
    TRANSFER = "transfer"
    """Between two users; each has it in their list, under one id."""
    PURCHASE = "purchase"
    POCKET_TRANSFER = "pocket_transfer"
    """Between the off-chain balance and the user's own wallet on a chain."""
    ONCHAIN_SEND = "onchain_send"
    """From the user's own wallet on a chain to somebody else."""


class Direction(StrEnum):
    """Whether money comes or goes, seen from the user whose list it is."""

    IN = "in"
    OUT = "out"
    OWN = "own"
    """From one place of the user's to another."""


class TransactionState(StrEnum):
    """What the status of any unit comes to."""

    PENDING = "pending"
    """Something is still expected."""
    DONE = "done"
    FAILED = "failed"
    """It moved nothing, or what it moved came back."""
