"""
The audit trail: who mixed what, from where to where. Sealed at rest, opened for operators alone.

It is kept for as long as the settings said when a line was written, and for as long as its mix is
open or held; then it is purged, and with it the withdrawal addresses that the mix has of its own.
The books and the payouts stay: they are what was paid.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.events import Json
from domain.ids import MIX_AUDIT, new_id
from domain.mixing.messages import OPEN_STATUSES
from infra.keyring import Keyring
from models.mixing import Mix, MixAddress, MixAudit, MixDole


@dataclass(frozen=True, slots=True)
class AuditLine:
    """What happened, opened."""

    id: str
    at: datetime
    keep_until: datetime
    what: str
    data: Mapping[str, Json]


class AuditTrail:
    """Writes lines under the newest key, and opens them."""

    def __init__(self, keyring: Keyring, *, keep_for: timedelta, clock: Clock) -> None:
        """Take the keys, and how long a line is kept."""
        self._keyring = keyring
        self._keep_for = keep_for
        self._clock = clock

    def write(self, session: AsyncSession, mix_id: str, what: str, **data: Json) -> None:
        """Add a line in the caller's unit of work."""
        line_id, now = new_id(MIX_AUDIT), self._clock.now()
        plain = json.dumps({"what": what, "data": data}).encode()
        session.add(
            MixAudit(
                id=line_id,
                mix_id=mix_id,
                sealed=self._keyring.seal(plain, associated=_place(mix_id, line_id)),
                keep_until=now + self._keep_for,
                at=now,
            )
        )


async def read_trail(session: AsyncSession, keyring: Keyring, mix_id: str) -> Sequence[AuditLine]:
    """
    Return the lines of a mix that are still kept, oldest first.

    Raises:
        KeyUnavailableError, InvariantError: One does not open; see ``infra.keyring``.
    """
    found = await session.exec(
        select(MixAudit).where(MixAudit.mix_id == mix_id).order_by(col(MixAudit.id))
    )
    lines = []
    for row in found:
        opened = json.loads(keyring.open(row.sealed, associated=_place(mix_id, row.id)))
        lines.append(AuditLine(row.id, row.at, row.keep_until, opened["what"], opened["data"]))
    return lines


async def purge(session: AsyncSession, *, now: datetime) -> int:
    """Delete what was kept for long enough of mixes that are over; return how many lines."""
    # An open one may still have to know where to pay.
    in_use = select(Mix.id).where(
        col(Mix.hold_kind).is_not(None) | col(Mix.status).in_(OPEN_STATUSES)
    )
    gone = await session.execute(
        delete(MixAudit)
        .where(col(MixAudit.keep_until) <= now, col(MixAudit.mix_id).not_in(in_use))
        .returning(col(MixAudit.mix_id))
    )
    of_mixes = [mix_id for (mix_id,) in gone]
    if of_mixes:
        await _forget_addresses(session, set(of_mixes))
    return len(of_mixes)


async def _forget_addresses(session: AsyncSession, mix_ids: set[str]) -> None:
    """Forget the addresses of mixes without any line left."""
    kept = await session.exec(
        select(MixAudit.mix_id).where(col(MixAudit.mix_id).in_(mix_ids)).distinct()
    )
    over = mix_ids - set(kept)
    for table in (MixAddress, MixDole):
        await session.execute(
            update(table)
            .where(col(table.mix_id).in_(over), col(table.address).is_not(None))
            .values(address=None)
        )


def _place(mix_id: str, line_id: str) -> bytes:
    return f"mix_audit:{mix_id}:{line_id}".encode()
