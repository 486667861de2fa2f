"""What people are told about why something is where it is."""

from dataclasses import dataclass
from datetime import timedelta

SILENT_AFTER = timedelta(seconds=20)
"""A process or a chain that was silent for this long counts as not running."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One sentence, and a stable code for programs; the code is null when nothing is waited for."""

    sentence: str
    waiting_for: str | None
