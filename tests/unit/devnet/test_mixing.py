"""What scripts find wrong with a mix, and with the books of a mixer."""

import asyncio
from typing import Any

import pytest

from cli.authenticator import Authenticator
from cli.client import ApiClient
from devnet.houses import Books, HouseWatch
from devnet.mixing import OpenMix, differences
from devnet.people import ScriptedUser
from models.wallets import Asset, AssetKind

USER = ScriptedUser("ada", "usr_1", ApiClient("http://127.0.0.1:1"), Authenticator("A" * 32))
JOB = Asset(code="JOB", kind=AssetKind.NATIVE, decimals=8, name="Jobcoin")
MIX = OpenMix(USER, "mix_1", "mxr_1", JOB, "tjob1paid", ("tjob1one", "tjob1two"))
ARRIVED = {"tjob1one": 70, "tjob1two": 20}


def dole(address: str, amount: int, **changed: str) -> dict[str, str]:
    found = {"address": address, "amount": str(amount), "status": "released"}
    return {**found, "payout_status": "settled", **changed}


def answer(*doles: dict[str, str], **changed: str) -> dict[str, Any]:
    parts = doles or (dole("tjob1one", 50), dole("tjob1one", 20), dole("tjob1two", 20))
    return {"received": "100", "fee": "10", "doled": "90", "doles": list(parts), **changed}


class TestDifferences:
    def test_finds_none_where_all_agrees(self) -> None:
        assert differences(MIX, answer(), ARRIVED, paid_minor=100) == []

    @pytest.mark.parametrize(
        "changed",
        [{"received": "99"}, {"fee": "9"}, {"fee": "11"}, {"doled": "91"}],
        ids=["received", "fee-less", "fee-more", "doled"],
    )
    def test_finds_a_unit_in_the_sums(self, changed: dict[str, str]) -> None:
        assert len(differences(MIX, answer(**changed), ARRIVED, paid_minor=100)) == 1

    @pytest.mark.parametrize("at_two", [0, 19, 21, 40])
    def test_finds_what_an_address_has_too_much_or_too_little(self, at_two: int) -> None:
        arrived = {**ARRIVED, "tjob1two": at_two}

        assert len(differences(MIX, answer(), arrived, paid_minor=100)) == 1

    def test_finds_an_address_that_got_nothing(self) -> None:
        all_to_one = answer(dole("tjob1one", 90))

        assert len(differences(MIX, all_to_one, {"tjob1one": 90}, paid_minor=100)) == 1

    def test_finds_a_part_that_left_to_somebody_else(self) -> None:
        strange = answer(dole("tjob1one", 50), dole("tjob1two", 20), dole("tjob1else", 20))
        arrived = {"tjob1one": 50, "tjob1two": 20}

        assert len(differences(MIX, strange, arrived, paid_minor=100)) == 1

    def test_finds_a_part_that_is_not_settled(self) -> None:
        waits = answer(dole("tjob1one", 70), dole("tjob1two", 20, payout_status="ready"))

        assert len(differences(MIX, waits, ARRIVED, paid_minor=100)) == 1


class TestHouseWatch:
    def test_finds_nothing_where_the_house_is_fees_and_owed(self) -> None:
        assert watched(Books(10, 1, 9, 0, 1), Books(1, 1, 0, 0, 0)).faults == []

    @pytest.mark.parametrize(
        "reading",
        [Books(10, 1, 8, 1, 1), Books(10, 1, 10, 0, 1), Books(10, 1, 9, 2, 1)],
        ids=["too-much", "too-little", "misplaced"],
    )
    def test_finds_a_moment_at_which_it_was_not(self, reading: Books) -> None:
        assert len(watched(reading, Books(1, 1, 0, 0, 0)).faults) == 1

    @pytest.mark.parametrize(
        "last", [Books(10, 1, 9, 0, 1), Books(10, 1, 9, 0, 0)], ids=["pending", "owed"]
    )
    def test_finds_that_not_all_is_over(self, last: Books) -> None:
        assert len(watched(last).faults) == 1

    async def test_reads_once_more_when_it_is_stopped(self) -> None:
        watch, stop = HouseWatch(USER, []), asyncio.Event()
        stop.set()

        async with asyncio.timeout(5):
            await watch.watch(stop)

        assert watch.faults == []


def watched(*readings: Books) -> HouseWatch:
    return HouseWatch(USER, ["mxr_1"], {"mxr_1": list(readings)})
