"""The judge of mixes: whatever it is there to find, it finds."""

from types import SimpleNamespace
from typing import Any

import pytest

from domain.mixing.messages import DoleStatus, LotStatus, MixerBooks, MixStatus
from domain.payouts import PayoutStatus
from tests.faults.findings import Findings
from tests.faults.mix_findings import Found, judged, wrong_mixers
from tests.faults.mixers import AskedMix, Way

ANN: Any = SimpleNamespace(user_id="ann")


def row(**columns: Any) -> Any:
    return SimpleNamespace(**columns)


def asked() -> AskedMix:
    mix = AskedMix(0, ANN, "JOB", Way.ONCE, ("one", "two"), mix_id="mix_1")
    mix.minted = {"tx": 1_000}
    return mix


class Rows:
    """One mix of 1,000 with a fee of 10, paid out in 600 and 390."""

    def __init__(self) -> None:
        self.mix = row(id="mix_1", status=MixStatus.DONE)
        self.deposit = row(id="dep_1", txid="tx", position="0", amount_minor=1_000, is_booked=True)
        self.deposits = [("mix_1", self.deposit)]
        self.lot = row(
            deposit_id="dep_1",
            mix_id="mix_1",
            amount_minor=1_000,
            fee_minor=10,
            status=LotStatus.TAKEN,
        )
        self.doles = [(self._dole("one", 600), PayoutStatus.SETTLED)]
        self.doles.append((self._dole("two", 390), PayoutStatus.SETTLED))
        self.arrived = {"one": 600, "two": 390}

    @staticmethod
    def _dole(address: str, amount_minor: int) -> Any:
        return row(
            id=f"dole_{address}",
            mix_id="mix_1",
            deposit_id="dep_1",
            address=address,
            amount_minor=amount_minor,
            status=DoleStatus.RELEASED,
        )

    def counts(self) -> tuple[int, int, int]:
        found = Found({"mix_1": self.mix}, self.deposits, [self.lot], self.doles, self.arrived)
        return counts(judged(asked(), found))


def counts(found: Findings) -> tuple[int, int, int]:
    return found.duplicates, found.lost, found.unbalanced


class TestJudge:
    def test_finds_nothing_where_all_is_right(self) -> None:
        assert Rows().counts() == (0, 0, 0)

    def test_finds_a_mix_that_is_not_there(self) -> None:
        assert counts(judged(asked(), Found({}, [], [], [], {}))) == (0, 1, 0)

    def test_finds_a_mix_that_is_stuck(self) -> None:
        rows = Rows()
        rows.mix.status = MixStatus.MIXING
        assert rows.counts() == (0, 1, 0)

    @pytest.mark.parametrize(("arrived_minor", "expected"), [(599, (0, 1, 0)), (601, (1, 0, 0))])
    def test_finds_what_the_node_has_other_than_planned(
        self, arrived_minor: int, expected: tuple[int, int, int]
    ) -> None:
        rows = Rows()
        rows.arrived["one"] = arrived_minor
        assert rows.counts() == expected

    def test_finds_a_part_that_was_not_paid(self) -> None:
        rows = Rows()
        rows.doles[0] = (rows.doles[0][0], PayoutStatus.BATCHED)
        assert rows.counts() == (0, 1, 0)

    def test_finds_a_part_to_somebody_else(self) -> None:
        rows = Rows()
        rows.doles[0][0].address = "three"
        assert rows.counts() == (1, 1, 0)

    def test_finds_that_the_parts_and_the_fee_are_not_the_whole(self) -> None:
        rows = Rows()
        rows.lot.fee_minor = 11
        assert rows.counts() == (0, 0, 1)

    def test_finds_a_deposit_that_was_booked_twice(self) -> None:
        rows = Rows()
        rows.deposits *= 2
        assert rows.counts() == (1, 0, 0)

    def test_finds_a_deposit_that_nobody_sent(self) -> None:
        rows = Rows()
        rows.deposit.txid = "another"
        assert rows.counts() == (1, 1, 0)

    def test_finds_a_deposit_that_nobody_decided_on(self) -> None:
        rows = Rows()
        rows.lot.deposit_id = "dep_2"
        assert rows.counts()[2] == 2  # it is undecided, and the parts are of none


class TestWrongMixers:
    def test_finds_nothing_where_the_house_is_the_fees(self) -> None:
        books = MixerBooks("mxr_1", house_minor=10, fees_minor=10, owed_minor=0)
        assert wrong_mixers([books]) == []

    @pytest.mark.parametrize(
        ("house_minor", "fees_minor", "owed_minor"), [(15, 10, 5), (11, 10, 0), (10, 10, 1)]
    )
    def test_finds_any_other(self, house_minor: int, fees_minor: int, owed_minor: int) -> None:
        books = MixerBooks("m", house_minor, fees_minor, owed_minor)
        assert len(wrong_mixers([books])) == 1
