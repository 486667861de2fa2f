"""
Which lookup keys cannot be ours, told without asking the database: far behind, most of a run's.

What it says is "no" or "maybe". Each "maybe" is searched for in the database, as every key is where
this is not used.
"""

from collections.abc import Iterable

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.hd import EXTERNAL, INTERNAL

TAIL_BYTES = 3
"""What is remembered of a key: its end, which is part of a hash (a vanity address begins oddly)."""

WORTHWHILE_KEYS = 2_000
"""Fewer keys are searched for sooner than this is brought up to date."""

_PAGE = 50_000

_TAILS = text("""
    SELECT min(index), max(index), count(*),
           string_agg(substr(CAST(:padding AS bytea) || lookup_key, octet_length(lookup_key) + 1),
                      CAST('' AS bytea))
    FROM (SELECT index, lookup_key, index - row_number() OVER (ORDER BY index) AS island
          FROM chain_address
          WHERE chain_id = :chain_id AND branch = :branch AND index >= :first
          ORDER BY index LIMIT :page) a
    GROUP BY island ORDER BY island
""")
"""The ends of a page of keys, one row for each sequence of indexes without a gap."""


class KnownKeys:
    """
    The ends of all lookup keys of one chain's addresses: 16 MiB, however many there are.

    With a million addresses one stranger's key in seventeen is a "maybe". The key of an index never
    changes: it is derived from it.
    """

    def __init__(self, chain_id: str) -> None:
        """Know nothing yet."""
        self._chain_id = chain_id
        self._is_known: bytearray | None = None
        self._first_missing = {EXTERNAL: 0, INTERNAL: 0}
        """By branch, the lowest index whose address we have not seen."""

    async def maybe_ours(self, session: AsyncSession, keys: Iterable[bytes]) -> set[bytes]:
        """
        Return those of the keys that could be of an address that this session can see.

        To be asked in the unit of work that moves the cursor over what the keys were read from: an
        address that was handed out while that was read is then seen.
        """
        if self._is_known is None:
            self._is_known = bytearray(1 << 8 * TAIL_BYTES)
        for branch in self._first_missing:
            await self._catch_up(session, branch)
        known, number = self._is_known, int.from_bytes
        return {key for key in keys if known[number(key[-TAIL_BYTES:])]}

    async def _catch_up(self, session: AsyncSession, branch: int) -> None:
        """
        Read the addresses from the first missing one on.

        Whoever commits out of order leaves a gap; what is behind it is read until it is filled.
        """
        first = self._first_missing[branch]
        while True:
            found = await session.execute(
                _TAILS,
                {
                    "chain_id": self._chain_id,
                    "branch": branch,
                    "first": first,
                    "page": _PAGE,
                    "padding": bytes(TAIL_BYTES),
                },
            )
            read = 0
            for lowest, highest, count, tails in found:
                self._add(bytes(tails))
                if lowest == self._first_missing[branch]:
                    self._first_missing[branch] = highest + 1
                read, first = read + count, highest + 1
            if read < _PAGE:
                return

    def _add(self, tails: bytes) -> None:
        assert self._is_known is not None
        for at in range(0, len(tails), TAIL_BYTES):
            self._is_known[int.from_bytes(tails[at : at + TAIL_BYTES])] = 1
