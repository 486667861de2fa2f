"""Drawing the amounts of a mix's dole-outs."""

from collections.abc import Sequence
from random import Random

from domain.mixing.denominations import fewest

SPARE = 3
"""Most parts, beyond those that have to be, that are drawn."""


def draw_parts(
    owed_minor: int,
    series: Sequence[int],
    *,
    parts_min: int,
    parts_max: int,
    random: Random,
) -> list[int]:
    """
    Return amounts of the series that sum to what is owed, in random order.

    There are at least ``parts_min`` and at most ``parts_max``. From the fewest possible, parts are
    split at random until there are as many as was drawn, the large ones sooner: there are few large
    payments, and what is rare is what leads to somebody. Many more than are asked for would not
    hide better: where there are fewer addresses, they show what belongs together.

    Raises:
        ValueError: The amount is no multiple of the smallest denomination, or too small or too
            large for so many parts.
    """
    parts = fewest(owed_minor, series)
    # A split of 5 makes three of one, so the last one may go one beyond what was asked for.
    most = parts_max - 1
    if owed_minor < parts_min * series[0] or len(parts) > parts_max or parts_min > most:
        msg = f"{owed_minor} cannot be paid in {parts_min} to {parts_max} parts."
        raise ValueError(msg)
    wanted = random.randint(parts_min, min(most, max(parts_min, len(parts)) + SPARE))
    while len(parts) < wanted and (splittable := [p for p in parts if p > series[0]]):
        (chosen,) = random.choices(splittable, weights=splittable)
        parts.remove(chosen)
        parts += _split(chosen)
    random.shuffle(parts)
    return parts


def _split(denomination: int) -> Sequence[int]:
    """Return smaller denominations of the same sum: 5 is 2, 2, 1; 2 is 1, 1; 10 is 5, 5."""
    leading = int(str(denomination)[0])
    unit = denomination // leading
    if leading == 5:  # noqa: PLR2004 - as written above
        return (2 * unit, 2 * unit, unit)
    return (denomination // 2, denomination // 2)
