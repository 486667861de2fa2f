"""
Which mixer has a deposit address: consistent hashing (Karger et al., 1997).

Each mixer stands at many points of a ring; an address belongs to the first point at or after its
own. A mixer that is added takes its share, about 1/(n+1), from all others; nothing else moves.
"""

import bisect
import hashlib
from collections.abc import Iterable

VIRTUAL_NODES = 256
"""Points of each mixer: shares then differ from even by about 1/16, one over the root of it."""


class Ring:
    """The mixers that take new mixes, on a ring. One that drains is left out."""

    def __init__(self, mixer_ids: Iterable[str], *, virtual_nodes: int = VIRTUAL_NODES) -> None:
        """Take the mixers, in any order; the ring is the same for the same ones."""
        self._points = sorted(
            (_point(f"{mixer_id}\x1f{number}"), mixer_id)
            for mixer_id in set(mixer_ids)
            for number in range(virtual_nodes)
        )

    def mixer_of(self, address: str) -> str:
        """
        Return the mixer that an address belongs to.

        Raises:
            LookupError: There is no mixer at all.
        """
        if not self._points:
            msg = "No mixer takes new mixes."
            raise LookupError(msg)
        place = bisect.bisect_left(self._points, (_point(address), ""))
        return self._points[place % len(self._points)][1]


def _point(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
