"""How long a screening provider's answers count. Who must not be paid is in ``domain.ports``."""

from datetime import timedelta
from typing import Final

ANSWER_GOOD_FOR: Final = timedelta(hours=1)
"""An older answer is asked for anew before a payout gets its place on the chain."""

RUN_ANSWER_GOOD_FOR: Final = timedelta(days=1)
"""
The same when a run starts: asking about a hundred thousand addresses may take hours.

Each line is asked about again before it is signed.
"""

SIGNED_WITHIN: Final = timedelta(hours=2)
"""The signer waits for a newer word on what was screened longer ago than this."""
