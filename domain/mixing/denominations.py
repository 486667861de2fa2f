"""The amounts that everybody is paid in: 1, 2, 5, 10, 20, 50, … minor units."""

from collections.abc import Sequence


def in_series(amount_minor: int) -> bool:
    """Tell whether an amount is 1, 2 or 5 times a power of ten."""
    return amount_minor > 0 and str(amount_minor).rstrip("0") in ("1", "2", "5")


def denominations(least_minor: int, most_minor: int) -> tuple[int, ...]:
    """
    Return the series from the least to the most, both of which are in it, rising.

    All are multiples of the least only where it begins with a 1 (of 2 and 5, 5 is none of 2), so it
    has to.

    Raises:
        ValueError: The least is no power of ten, the most not of the series, or less.
    """
    if set(str(least_minor)) - {"0", "1"} or not str(least_minor).startswith("1"):
        msg = f"The smallest denomination is a power of ten, and {least_minor} is none."
        raise ValueError(msg)
    if not in_series(least_minor) or not in_series(most_minor) or most_minor < least_minor:
        msg = f"{least_minor} to {most_minor} is no range of the series 1, 2, 5, 10, …"
        raise ValueError(msg)
    series = []
    decade = least_minor
    while decade <= most_minor:
        series += [step * decade for step in (1, 2, 5) if step * decade <= most_minor]
        decade *= 10
    return tuple(series)


def fewest(amount_minor: int, series: Sequence[int]) -> list[int]:
    """
    Return the fewest denominations that sum to a multiple of the smallest, largest first.

    Taking the largest that fits is optimal for this series.

    Raises:
        ValueError: The amount is negative or no multiple of the smallest.
    """
    if amount_minor < 0 or amount_minor % series[0]:
        msg = f"{amount_minor} is no multiple of {series[0]}."
        raise ValueError(msg)
    parts: list[int] = []
    for denomination in reversed(series):
        count, amount_minor = divmod(amount_minor, denomination)
        parts += [denomination] * count
    return parts


def fewest_max(amount_max_minor: int, series: Sequence[int]) -> int:
    """
    Return a bound of how many parts ``fewest`` gives for any amount up to this.

    So often the largest, and three of each decade below it (8 is 5, 2 and 1; 9 is 5, 2 and 2).
    """
    decades = -(-(len(series) - 1) // 3)
    return amount_max_minor // series[-1] + 3 * decades
