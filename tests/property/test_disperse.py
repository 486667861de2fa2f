"""Whatever a batch holds, its money adds up on the chain. Runs on a real node."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devnet.evm_node import EvmNode
from domain.disperse import Dispersal
from tests.support.disperse import (
    HOSTILE_CODES,
    ODD_CODES,
    PICKY,
    DisperseWorld,
    fee_minor,
    fresh_address,
)

CODES = HOSTILE_CODES | ODD_CODES | {"picky": PICKY}
REFUSING = {"the contract", *HOSTILE_CODES}
KINDS = sorted(("person", "new person", "the contract", *CODES))
TOKEN_BEHAVIORS = (0, 1, 2, 3, 4, 5, 6)
TOKEN_REFUSALS = frozenset({2, 3, 4, 6})
"""As numbered in ``contracts/OddToken.vy``."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A world with recipients of each kind, some of whom a batch pays twice."""

    world: DisperseWorld
    crowd: dict[str, str]
    token: str
    token_crowd: dict[int, str]


@pytest.fixture(scope="module")
def stage(evm_node: EvmNode) -> Iterator[Stage]:
    world = DisperseWorld(evm_node.url)
    crowd = {kind: world.account(code) for kind, code in CODES.items()}
    token = world.token()
    token_crowd = {behavior: fresh_address() for behavior in TOKEN_BEHAVIORS}
    for behavior, receiver in token_crowd.items():
        world.invoke(token, "set_behavior(address,uint256)", receiver, behavior)
    known = {"person": fresh_address(), "the contract": world.contract}
    yield Stage(world, crowd | known, token, token_crowd)
    world.close()


def disperse_and_check(world: DisperseWorld, dispersal: Dispersal) -> set[int]:
    """Pay a batch, check every balance against what is reported, and return what failed."""
    token = dispersal.token_address
    meant_minor = sum(payment.amount_minor for payment in dispersal.payments)
    recipients = sorted({payment.recipient for payment in dispersal.payments})
    before = world.balances(*recipients, world.sender, token=token)

    outcome, receipt = world.disperse(dispersal)

    failed = {payment.index for payment in outcome.failed}
    failed_minor = sum(payment.amount_minor for payment in outcome.failed)
    assert outcome.paid_minor + failed_minor == meant_minor
    paid = dict.fromkeys(recipients, 0)
    for index, payment in enumerate(dispersal.payments):
        paid[payment.recipient] += 0 if index in failed else payment.amount_minor
    spent_minor = outcome.paid_minor + (0 if token else fee_minor(receipt))
    after = world.balances(*recipients, world.sender, token=token)
    changes = [new - old for new, old in zip(after, before, strict=True)]
    assert changes == [*paid.values(), -spent_minor]
    assert world.balance(world.contract, token) == 0
    return failed


class TestDispersal:
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        batch=st.lists(
            st.tuples(st.sampled_from(KINDS), st.integers(1, 2**80)), min_size=1, max_size=12
        )
    )
    def test_of_coin_adds_up(self, stage: Stage, batch: list[tuple[str, int]]) -> None:
        payments = [(stage.crowd.get(kind) or fresh_address(), amount) for kind, amount in batch]

        failed = disperse_and_check(stage.world, stage.world.dispersal(*payments))
        assert failed == {i for i, (kind, _) in enumerate(batch) if kind in REFUSING}

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        batch=st.lists(
            st.tuples(st.sampled_from(TOKEN_BEHAVIORS), st.integers(1, 2**80)),
            min_size=1,
            max_size=12,
        )
    )
    def test_of_tokens_adds_up(self, stage: Stage, batch: list[tuple[int, int]]) -> None:
        payments = [(stage.token_crowd[behavior], amount) for behavior, amount in batch]
        dispersal = stage.world.dispersal(*payments, token=stage.token)

        failed = disperse_and_check(stage.world, dispersal)
        assert failed == {i for i, (kind, _) in enumerate(batch) if kind in TOKEN_REFUSALS}
