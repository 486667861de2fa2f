"""What people are told about why something is where it is."""

from dataclasses import dataclass
from datetime import datetime, timedelta

SILENT_AFTER = timedelta(seconds=20)
"""A process or a chain that was silent for this long counts as not running."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One sentence, and a stable code for programs; the code is null when nothing is waited for."""

    sentence: str
    waiting_for: str | None


def overdue_since(expires_at: datetime | None, *, now: datetime) -> Explanation | None:
    """Return what is said of a hold whose approvals are overdue and that is not given back."""
    if expires_at is None or now <= expires_at + SILENT_AFTER:
        return None
    return Explanation(
        f"Approvals were due until {expires_at:%Y-%m-%d %H:%M} UTC; its money is still held, and"
        " giving it back is tried again and again.",
        "expiry",
    )
