"""Mixers of a local stack, on terms that nobody would offer: time is compressed."""

from domain.clock import SystemClock
from domain.mixing.policy import MixerPolicy
from infra.database import Database
from mixers.registry import create_mixer, list_mixers

NAMES = ("north", "south", "west")
FEES = ((1, 100), (1, 200), (3, 400))
"""Each mixer's, as a fraction of the deposit."""


def local_policy(*, unit_minor: int, fee: tuple[int, int]) -> MixerPolicy:
    """
    Return terms around a unit, a power of ten.

    Deposits of 5 to 50 of it leave within half a minute, in parts of a tenth of it to twice it.
    """
    return MixerPolicy(
        fee_numerator=fee[0],
        fee_denominator=fee[1],
        dole_min_minor=unit_minor // 10,
        dole_max_minor=2 * unit_minor,
        parts_min=4,
        parts_max=60,
        deposit_min_minor=5 * unit_minor,
        deposit_max_minor=50 * unit_minor,
        delay_min_s=2,
        window_s=24,
        slot_s=3,
        expires_after_s=3_600,
    )


async def add_mixers(database: Database, asset: str, *, unit_minor: int, count: int) -> None:
    """Add so many mixers of an asset, unless it has some."""
    async with database.transaction() as session:
        if await list_mixers(session, asset=asset):
            return
        for name, fee in list(zip(NAMES, FEES, strict=True))[:count]:
            await create_mixer(
                session,
                asset_code=asset,
                name=f"{name} ({asset})",
                policy=local_policy(unit_minor=unit_minor, fee=fee),
                by=None,
                clock=SystemClock(),
            )
