"""
What a chain shows of mixes: deposits, and what the house pays, by our scheme and by the seed's.

The same users, deposits and addresses for both; the seed's is given our window, where it took
seconds.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from domain.mixing.plan import draw_plan
from domain.mixing.policy import MixerPolicy

POLICY = MixerPolicy(
    fee_numerator=2,
    fee_denominator=100,
    dole_min_minor=100_000,
    dole_max_minor=10_000_000,
    parts_min=5,
    parts_max=24,
    deposit_min_minor=5_000_000,
    deposit_max_minor=100_000_000,
    delay_min_s=0,
    window_s=86_400,
    slot_s=600,
)
"""In satoshi: 0.05 to 1 BTC in parts of 0.001 to 0.1, over a day; the seed's fee of 2%."""

ADDRESSES = (2, 10)
"""Each user gives so many new ones, at least and at most."""
PERCENT = 100
START = datetime(2026, 1, 1, tzinfo=UTC)
COMING = timedelta(days=2)
"""So long users pay in, at any time."""


@dataclass(frozen=True, slots=True)
class User:
    """Who paid how much in and when; ``number`` is what the observer wants to know."""

    number: int
    at: datetime
    amount_minor: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paid:
    """An output of a transaction of the house; ``owner`` is not on the chain."""

    at: datetime
    amount_minor: int
    address: str
    owner: int


type Scheme = Callable[[User, random.Random], Sequence[Paid]]


def users(count: int, chance: random.Random) -> list[User]:
    """Return users with odd amounts, evenly in logarithm, and new addresses each."""
    return [
        User(
            number,
            START + chance.random() * COMING,
            round(
                POLICY.deposit_min_minor
                * (POLICY.deposit_max_minor / POLICY.deposit_min_minor) ** chance.random()
            ),
            tuple(f"{number}/{place}" for place in range(chance.randint(*ADDRESSES))),
        )
        for number in range(count)
    ]


def ours(user: User, chance: random.Random) -> Sequence[Paid]:
    """Pay as ``domain.mixing`` draws it."""
    plan = draw_plan(
        user.amount_minor,
        POLICY,
        addresses=user.addresses,
        parts_asked=1,
        from_at=user.at,
        random=chance,
    )
    return [Paid(d.due_at, d.amount_minor, d.address, user.number) for d in plan.doles]


def naive(user: User, chance: random.Random) -> Sequence[Paid]:
    """
    Pay as the seed does: a random whole percentage to each address, one after the other.

    The first is paid at once, and the others after random intervals, which together last our
    window on average. The last gets what is left.
    """
    owed_minor = owed(user.amount_minor)
    count = len(user.addresses)
    weights = [chance.random() for _ in range(count - 1)]
    # The last one's weight; the seed's own last gets what rounding leaves, which may be nothing.
    weights.append(chance.random())
    together = sum(weights)
    percents = [max(1, round(PERCENT * weight / together)) for weight in weights[:-1]]
    amounts = [owed_minor * percent // PERCENT for percent in percents]
    amounts.append(max(1, owed_minor - sum(amounts)))
    at, paid = user.at, []
    for address, amount_minor in zip(user.addresses, amounts, strict=True):
        paid.append(Paid(at, amount_minor, address, user.number))
        at += 2 * chance.random() * POLICY.window / count
    return paid


def owed(amount_minor: int) -> int:
    """Return a deposit less the exact fee, rounded down."""
    return int(amount_minor * (1 - Fraction(POLICY.fee_numerator, POLICY.fee_denominator)))
