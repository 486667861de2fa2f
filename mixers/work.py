"""What the steps of a mix share within one unit of work."""

from dataclasses import dataclass, field
from random import Random

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.mixing.messages import HoldKind
from ledger.posting import Posting
from mixers.audit import AuditTrail
from mixers.history import note
from models.mixing import Mix


@dataclass(slots=True)
class Work:
    """What a step needs, and the postings that it comes to; they are posted at its end, at once."""

    session: AsyncSession
    clock: Clock
    random: Random
    trail: AuditTrail
    postings: list[Posting] = field(default_factory=list)


async def put_on_hold(
    work: Work, mix: Mix, kind: HoldKind, *, by: str | None = None, why: str | None = None
) -> None:
    """Let nothing leave of a mix until an operator lifts it."""
    mix.hold_kind, mix.held_at, mix.held_by = kind, work.clock.now(), by
    await note(work.session, mix, clock=work.clock, detail="held")
    work.trail.write(work.session, mix.id, "held", kind=kind.value, by=by, why=why)
