"""Changing where a mix stands, always with a line of its history and an event."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import MixNotFoundError
from domain.events import Event
from domain.mixing.messages import MixStatus
from events.outbox import publish
from models.mixing import Mix, MixEvent


async def locked_mix(session: AsyncSession, mix_id: str) -> Mix:
    """
    Return a mix that nobody else changes until the commit.

    Raises:
        MixNotFoundError: There is none.
    """
    found = await session.exec(select(Mix).where(col(Mix.id) == mix_id).with_for_update())
    mix = found.first()
    if mix is None:
        raise MixNotFoundError
    return mix


async def move(
    session: AsyncSession, mix: Mix, status: MixStatus, *, clock: Clock, detail: str | None = None
) -> None:
    """Set the status of a mix and tell it; the same one again is nothing new."""
    if mix.status == status:
        return
    mix.status = status
    await note(session, mix, clock=clock, detail=detail)
    await publish(session, _event(mix, f"mix.{status}"))


async def note(session: AsyncSession, mix: Mix, *, clock: Clock, detail: str | None) -> None:
    """Write a line of history at the present status."""
    mix.updated_at = clock.now()
    session.add(mix)
    await session.flush()
    session.add(MixEvent(mix_id=mix.id, status=mix.status, detail=detail, at=clock.now()))
    await session.flush()


def _event(mix: Mix, kind: str) -> Event:
    return Event(
        mix.user_id,
        kind,
        mix.id,
        {
            "asset": mix.asset,
            "chain_id": mix.chain_id,
            "received": str(mix.received_minor),
            "fee": str(mix.fee_minor),
            "doled": str(mix.doled_minor),
            "reason_code": mix.reason_code,
        },
    )
