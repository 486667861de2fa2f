import re
from decimal import Decimal

import pytest

from domain.deposits import DepositStatus
from domain.errors import InvariantError
from domain.events import KINDS, Event, Json
from domain.payouts import PayoutStatus

UNTOLD = {DepositStatus.IGNORED}
"""What is in no book is no news either."""


class TestKinds:
    def test_are_a_noun_and_what_came_to_pass(self) -> None:
        assert [kind for kind in KINDS if not re.fullmatch(r"[a-z_]+\.[a-z_]+", kind)] == []

    def test_are_each_described_by_a_sentence(self) -> None:
        assert [kind for kind, said in KINDS.items() if not re.fullmatch(r"[A-Z].+\.", said)] == []

    def test_hold_every_status_of_payouts_and_deposits(self) -> None:
        named = {f"payout.{status}" for status in PayoutStatus}
        named |= {f"deposit.{status}" for status in DepositStatus if status not in UNTOLD}

        assert named <= set(KINDS)


class TestEvent:
    def test_is_refused_where_its_kind_is_not_registered(self) -> None:
        with pytest.raises(InvariantError, match=r"payout\.vanished"):
            Event("usr_1", "payout.vanished", "pay_1")

    @pytest.mark.parametrize("value", [0.1, Decimal(1), {"amount": [1.5]}, {1: "one"}, object()])
    def test_is_refused_where_it_carries_floats_or_what_is_no_json(self, value: object) -> None:
        with pytest.raises(InvariantError):
            Event("usr_1", "payout.settled", "pay_1", {"value": value})  # type: ignore[dict-item]

    def test_carries_json(self) -> None:
        data: dict[str, Json] = {"amount": "1", "lines": [1, {"a": None}], "is_last": True}

        assert Event("usr_1", "payout.settled", "pay_1", data).data == data
