"""The benchmark's observer sees what is there, and not what is not on the chain."""

import random
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.mixing import measure
from benchmarks.mixing_observer import Seen, likely_naive, likely_ours, observe
from benchmarks.mixing_schemes import Paid, User, naive, ours, users


def _world(seed: int) -> tuple[list[User], random.Random]:
    chance = random.Random(seed)  # noqa: S311 - a reproducible workload
    return users(30, chance), chance


def _seen_of_ours(people: Sequence[User], payments: Sequence[Paid]) -> Seen:
    return observe(people, payments, likely_ours(random.Random(5)))  # noqa: S311


class TestObserver:
    def test_links_nearly_every_payment_of_the_naive_scheme(self) -> None:
        people, chance = _world(1)
        payments = [paid for user in people for paid in naive(user, chance)]
        seen = observe(people, payments, likely_naive)
        assert seen.linked > 0.95
        assert seen.anonymity_set < 1.1

    def test_links_all_where_there_is_only_one_user(self) -> None:
        (user, *_), chance = _world(2)
        seen = _seen_of_ours([user], ours(user, chance))
        assert seen == Seen(linked=1.0, anonymity_set=1.0)

    def test_cannot_tell_users_who_paid_the_same_at_once(self) -> None:
        (user, *_), chance = _world(3)
        twins = [replace(user, number=number) for number in range(4)]
        payments = [
            replace(paid, address=f"{twin.number}/{paid.address}/{place}")
            for twin in twins
            for place, paid in enumerate(ours(twin, chance))
        ]
        seen = _seen_of_ours(twins, payments)
        assert seen.anonymity_set > 3.5

    def test_does_not_look_at_whose_a_payment_is(self) -> None:
        people, chance = _world(4)
        payments = [paid for user in people for paid in ours(user, chance)]
        blind = [replace(paid, owner=-1) for paid in payments]
        assert _seen_of_ours(people, blind).linked == 0
        expected = _seen_of_ours(people, payments).anonymity_set
        assert _seen_of_ours(people, blind).anonymity_set == expected


class TestMeasure:
    def test_says_that_ours_hides_better(self) -> None:
        figures = measure(count=60, worlds=1)
        assert figures.mixer_linking_vs_naive < 0.5
        assert figures.linked > figures.linked_by_chance
        assert figures.anonymity_set > 3 * figures.anonymity_set_naive

    def test_is_the_same_every_time(self) -> None:
        assert measure(count=20, worlds=1) == measure(count=20, worlds=1)
