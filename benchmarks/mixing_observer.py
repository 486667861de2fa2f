"""
The observer: who reads the chain, knows how the mixer draws, and says who was paid.

They know everything but the dice (Kerckhoffs): for each deposit how many payments of each amount to
expect, given that its parts sum to what is owed, and how its payments lie in time. Each payment is
shared out among the deposits it may be of, so that payments and deposits both come out even
(Sinkhorn's scaling); payments to one address have one owner, whose they are by all of them at once.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from benchmarks.mixing_schemes import ADDRESSES, PERCENT, POLICY, Paid, User, ours, owed

REHEARSALS = 60
"""So often the observer draws a deposit's parts themselves, to know what to expect."""
ROUNDS = 12
"""Of scaling; the shares hardly change after that."""
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Seen:
    """How well the observer did."""

    linked: float
    """Share of the payments whose owner was guessed."""
    anonymity_set: float
    """Two to the mean entropy of whom each payment may be of, in bits."""


type Likely = Callable[[User, Sequence[Paid]], Mapping[int, float]]
"""Of a deposit: by place among the payments, how many of that kind it makes at that time."""


def observe(deposits: Sequence[User], payments: Sequence[Paid], likely: Likely) -> Seen:
    """Guess the owner of every payment, and say how often that was right."""
    shares = [dict(likely(deposit, payments)) for deposit in deposits]
    _scale(shares, payments)
    clusters: defaultdict[str, list[int]] = defaultdict(list)
    for place, paid in enumerate(payments):
        clusters[paid.address].append(place)
    hits = bits = 0.0
    for places in clusters.values():
        chances = _owners(deposits, shares, payments, places)
        best = max(chances.values())
        leaders = [number for number, chance in chances.items() if chance == best]
        hits += len(places) * (payments[places[0]].owner in leaders) / len(leaders)
        bits += len(places) * -sum(c * math.log2(c) for c in chances.values() if c > 0)
    return Seen(hits / len(payments), 2 ** (bits / len(payments)))


def _scale(shares: Sequence[dict[int, float]], payments: Sequence[Paid]) -> None:
    """Share out each payment as a whole, and give each deposit as many of each kind as it makes."""
    wanted: list[Mapping[int, float]] = []
    for share in shares:
        totals: defaultdict[int, float] = defaultdict(float)
        for place, chance in share.items():
            totals[payments[place].amount_minor] += chance
        wanted.append(totals)
    for _ in range(ROUNDS):
        columns: Counter[int] = Counter()
        for share in shares:
            columns.update(share)
        for share, sums in zip(shares, wanted, strict=True):
            rows: defaultdict[int, float] = defaultdict(float)
            for place in share:
                share[place] /= columns[place]
                rows[payments[place].amount_minor] += share[place]
            for place in share:
                kind = payments[place].amount_minor
                share[place] *= sums[kind] / max(rows[kind], TINY)


def _owners(
    deposits: Sequence[User],
    shares: Sequence[Mapping[int, float]],
    payments: Sequence[Paid],
    places: Sequence[int],
) -> Mapping[int, float]:
    """Return how likely each deposit is the one that these payments, to one address, are of."""
    together = sum(payments[place].amount_minor for place in places)
    logs: dict[int, float] = {}
    for number, share in enumerate(shares):
        if together <= owed(deposits[number].amount_minor) and all(p in share for p in places):
            logs[number] = sum(math.log(max(share[place], TINY)) for place in places)
    if not logs:
        return {number: 1 / len(deposits) for number in range(len(deposits))}
    most = max(logs.values())
    weights = {number: math.exp(log - most) for number, log in logs.items()}
    total = sum(weights.values())
    return {number: weight / total for number, weight in weights.items()}


def likely_ours(chance: random.Random) -> Likely:
    """Return what is likely by our scheme: parts as drawn, evenly over the window's slots."""

    def likely(deposit: User, payments: Sequence[Paid]) -> Mapping[int, float]:
        kinds: Counter[int] = Counter()
        for _ in range(REHEARSALS):
            kinds.update(paid.amount_minor for paid in ours(deposit, chance))
        last = deposit.at + POLICY.delay_min + POLICY.window + POLICY.slot
        return {
            place: kinds[paid.amount_minor] / REHEARSALS
            for place, paid in enumerate(payments)
            if deposit.at < paid.at <= last and kinds[paid.amount_minor]
        }

    return likely


def likely_naive(deposit: User, payments: Sequence[Paid]) -> Mapping[int, float]:
    """Return what is likely by the seed's scheme: whole percentages of what is owed."""
    owed_minor = owed(deposit.amount_minor)
    last = deposit.at + 2 * POLICY.window
    found: dict[int, float] = {}
    for place, paid in enumerate(payments):
        if deposit.at <= paid.at <= last:
            off = paid.amount_minor * PERCENT % owed_minor
            # Rounding down takes less than a unit of each; the last one has what it took of all.
            is_whole = min(off, owed_minor - off) <= PERCENT * ADDRESSES[-1]
            is_first = paid.at - deposit.at < timedelta(seconds=1)
            if is_whole or is_first:
                found[place] = 1.0 if is_whole else TINY
    return found
