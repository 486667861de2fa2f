"""
Comparing the books of mixers: always, house = fees + owed; with nothing pending, house = fees.

The house is what came in and has not left, by the rows of deposits and dole-outs. What is owed, and
what was earned, is what the ledger says. So neither side can hide a fault of the other.
"""

import logging
from collections.abc import Sequence

from sqlalchemy import text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.mixing.messages import MixerBooks
from infra.database import Database
from ledger import chart
from ledger.queries import account_balance
from mixers.audit import purge
from models.mixing import Mixer

logger = logging.getLogger(__name__)

# By whether the deposit is booked, and what was decided on it:
#   booked, undecided or back after it was taken back:  owed as a whole
#   booked and taken:  owed, less the fee and what has left, or was given back at last
#   refunded, or taken back:  nothing
#   gone from the chain, and nobody has looked since:  the whole is missing
_MIXES = text("""
    SELECT m.id, coalesce(b.balance_minor, 0) AS owed_minor,
           coalesce(d.whole_minor, 0) + coalesce(p.planned_minor, 0)
               - coalesce(d.missing_minor, 0) AS due_minor,
           coalesce(d.whole_minor, 0) + coalesce(d.taken_minor, 0) - coalesce(p.left_minor, 0)
               - coalesce(d.unpaid_minor, 0) AS house_minor
    FROM mix m
    LEFT JOIN ledger_account b ON b.code = 'mix:' || m.id || '\\:owed' AND b.asset = m.asset
    LEFT JOIN LATERAL (
        SELECT sum(c.amount_minor) FILTER (
                   WHERE c.is_booked AND coalesce(l.status, 'taken_back') = 'taken_back')
                   AS whole_minor,
               sum(c.amount_minor) FILTER (WHERE c.is_booked AND l.status = 'taken')
                   AS taken_minor,
               sum(c.amount_minor) FILTER (
                   WHERE NOT c.is_booked AND l.status IN ('taken', 'refunded')) AS missing_minor,
               sum(c.amount_minor) FILTER (WHERE NOT c.is_booked AND l.status = 'refunded')
                   AS unpaid_minor
        FROM chain_deposit c LEFT JOIN mix_lot l ON l.deposit_id = c.id
        WHERE c.address_id = m.address_id AND c.asset = m.asset AND c.reason_code IS NULL
    ) d ON true
    LEFT JOIN LATERAL (
        SELECT sum(o.amount_minor) FILTER (WHERE o.status = 'planned') AS planned_minor,
               sum(o.amount_minor) FILTER (WHERE o.status <> 'planned' AND l.status = 'taken')
                   AS left_minor
        FROM mix_dole o JOIN mix_lot l ON l.deposit_id = o.deposit_id
        WHERE o.mix_id = m.id
    ) p ON true
    WHERE m.mixer_id = :mixer_id AND m.status <> 'refused'
""")


class PostgresMixerChecker:
    """``domain.mixing.ports.MixerChecker`` on PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take the database as the worker's role."""
        self._database = database
        self._clock = clock

    async def check(self) -> Sequence[MixerBooks]:
        """Compare every mixer, note the result on it, and return those that are off."""
        found = await all_books(self._database)
        async with self._database.transaction() as session:
            for fault in found:
                await session.execute(
                    update(Mixer)
                    .where(col(Mixer.id) == fault.mixer_id)
                    .values(checked_at=self._clock.now(), imbalance_minor=fault.imbalance_minor)
                )
        faults = [fault for fault in found if fault.imbalance_minor]
        for fault in faults:
            logger.critical("the house of a mixer is out of balance: %s", fault)
        return faults

    async def purge(self) -> int:
        """Delete what the audit trail kept for long enough; return how many lines."""
        async with self._database.transaction() as session:
            return await purge(session, now=self._clock.now())


async def all_books(database: Database) -> Sequence[MixerBooks]:
    """Return the books of every mixer, all as they are at one moment."""
    # Between two statements money would move.
    async with database.snapshot() as session:
        mixers = (await session.exec(select(Mixer).order_by(col(Mixer.id)))).all()
        return [await books_of(session, mixer) for mixer in mixers]


async def books_of(session: AsyncSession, mixer: Mixer) -> MixerBooks:
    """Return the books of a mixer; they are of one moment only in a snapshot."""
    rows = (await session.execute(_MIXES, {"mixer_id": mixer.id})).all()
    return MixerBooks(
        mixer.id,
        house_minor=sum(int(row.house_minor) for row in rows),
        fees_minor=await account_balance(session, chart.mixer_fees(mixer.id), mixer.asset),
        owed_minor=sum(int(row.owed_minor) for row in rows),
        mixes=tuple(row.id for row in rows if row.owed_minor != row.due_minor),
        misplaced_minor=sum(int(abs(row.owed_minor - row.due_minor)) for row in rows),
    )
