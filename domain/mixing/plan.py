"""The whole plan of what one deposit of a mix becomes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

from domain.mixing.fees import split_fee
from domain.mixing.parts import draw_parts
from domain.mixing.policy import MixerPolicy
from domain.mixing.slots import draw_moments


@dataclass(frozen=True, slots=True)
class PlannedDole:
    """One part of a mix: how much, when and where to."""

    amount_minor: int
    due_at: datetime
    address: str


@dataclass(frozen=True, slots=True)
class MixPlan:
    """What a deposit becomes; fee and dole-outs sum to it, to the unit."""

    fee_minor: int
    doles: tuple[PlannedDole, ...]
    """By when they are due."""


def draw_plan(
    deposit_minor: int,
    policy: MixerPolicy,
    *,
    addresses: Sequence[str],
    parts_asked: int,
    from_at: datetime,
    random: Random,
) -> MixPlan:
    """
    Draw amounts, moments and addresses, each without regard to the others.

    There are at least as many parts as were asked for, as the policy says, and as there are
    addresses: each of them gets one or more, in an order that is drawn as well.

    Raises:
        ValueError: The policy does not take this deposit, or cannot pay it in so many parts.
    """
    if not policy.deposit_min_minor <= deposit_minor <= policy.deposit_max_minor or not addresses:
        msg = f"The policy takes no deposit of {deposit_minor}."
        raise ValueError(msg)
    split = split_fee(deposit_minor, policy.fee, grain_minor=policy.dole_min_minor)
    parts = draw_parts(
        split.owed_minor,
        policy.series,
        parts_min=max(policy.parts_min, parts_asked, len(addresses)),
        parts_max=policy.parts_max,
        random=random,
    )
    moments = draw_moments(
        len(parts),
        from_at=from_at,
        delay_min=policy.delay_min,
        window=policy.window,
        slot=policy.slot,
        random=random,
    )
    # Amounts are in random order already, so addresses may go round in theirs.
    shuffled = itertools.cycle(random.sample(addresses, len(addresses)))
    targets = list(itertools.islice(shuffled, len(parts)))
    random.shuffle(targets)
    doles = zip(parts, moments, targets, strict=True)
    return MixPlan(split.fee_minor, tuple(PlannedDole(*dole) for dole in doles))
