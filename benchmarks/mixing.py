"""
Mixing: how often an observer of the chain links a payment to its deposit, ours against the seed's.

Nothing is timed: the figures do not depend on the machine.

And what a mix costs in history events, by the history that replay tests hold the workflow to.
"""

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.mixing_observer import Likely, Seen, likely_naive, likely_ours, observe
from benchmarks.mixing_schemes import Scheme, User, naive, ours, users

USERS = 150
HISTORY = Path(__file__).parents[1] / "tests/replay/histories/mix_done.json"
OF_SKIPPING = ("TIME_SKIPPING_TRANSITIONED", "OPTIONS_UPDATED")
WORLDS = 3
"""Each with users, deposits and dice of its own."""


@dataclass(frozen=True, slots=True)
class MixingFigures:
    """What the observer learns, on average over the worlds."""

    mixer_linking_vs_naive: float
    """Share of our payments whose owner is guessed, against that of the seed's scheme."""
    linked: float
    linked_naive: float
    linked_by_chance: float
    """Of guesses among all users, knowing nothing."""
    anonymity_set: float
    anonymity_set_naive: float
    users_per_transaction: float
    """How many users share one transaction of ours, seen from a payment."""
    mixer_events_per_doleout: float
    """History events of a whole mix of five parts, opening and deposit included, per part."""


def measure(*, count: int = USERS, worlds: int = WORLDS) -> MixingFigures:
    """Let the observer look at both schemes in each world."""
    seen_ours: list[Seen] = []
    seen_naive: list[Seen] = []
    company: list[float] = []
    for seed in range(worlds):
        chance = random.Random(seed)  # noqa: S311 - a reproducible workload
        people = users(count, chance)
        # The observer throws dice of their own.
        rehearsals = random.Random(-1 - seed)  # noqa: S311
        seen_ours.append(_watched(people, ours, likely_ours(rehearsals), chance))
        seen_naive.append(_watched(people, naive, likely_naive, chance))
        company.append(_company(people, chance))
    linked, linked_naive = (mean(s.linked for s in seen) for seen in (seen_ours, seen_naive))
    return MixingFigures(
        mixer_linking_vs_naive=linked / linked_naive,
        linked=linked,
        linked_naive=linked_naive,
        linked_by_chance=1 / count,
        anonymity_set=mean(seen.anonymity_set for seen in seen_ours),
        anonymity_set_naive=mean(seen.anonymity_set for seen in seen_naive),
        users_per_transaction=mean(company),
        mixer_events_per_doleout=_events_per_doleout(),
    )


def _watched(people: list[User], scheme: Scheme, likely: Likely, chance: random.Random) -> Seen:
    payments = [paid for user in people for paid in scheme(user, chance)]
    # On a chain, nothing tells in which order they were planned.
    chance.shuffle(payments)
    return observe(people, payments, likely)


def _events_per_doleout() -> float:
    """Count what a server records that does not skip time, as the one of the recording does."""
    events = [e["eventType"] for e in json.loads(HISTORY.read_text())["events"]]
    parts = events.count("EVENT_TYPE_TIMER_FIRED")
    return sum(not kind.endswith(OF_SKIPPING) for kind in events) / parts


def _company(people: list[User], chance: random.Random) -> float:
    together: defaultdict[object, list[int]] = defaultdict(list)
    for user in people:
        for paid in ours(user, chance):
            together[paid.at].append(user.number)
    return mean(len(set(owners)) for owners in together.values() for _ in owners)


if __name__ == "__main__":
    print(measure())
