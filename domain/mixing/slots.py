"""
Drawing the moments of a mix's dole-outs.

The clock is cut into slots of one length, counted from the epoch, the same for everybody of a
mixer. What falls into a slot leaves at its end, together: so a payment's moment says nothing but
which slot it is, and transactions are shared.
"""

from datetime import UTC, datetime, timedelta
from random import Random

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def draw_moments(
    count: int,
    *,
    from_at: datetime,
    delay_min: timedelta,
    window: timedelta,
    slot: timedelta,
    random: Random,
) -> list[datetime]:
    """
    Return so many ends of slots, each drawn by itself and evenly, rising.

    All lie after ``from_at + delay_min`` and at most ``window`` and one slot after that. Each
    one is drawn without regard to the others: were they spread on purpose, the moment of one would
    say where the others are not.

    Raises:
        ValueError: A slot or a window shorter than nothing, or a window shorter than a slot.
    """
    if slot <= timedelta(0) or window < slot or delay_min < timedelta(0):
        msg = "A window is at least one slot, and a slot longer than nothing."
        raise ValueError(msg)
    first = (from_at + delay_min - _EPOCH) // slot + 1
    last = first + window // slot - 1
    return sorted(_EPOCH + random.randint(first, last) * slot for _ in range(count))
