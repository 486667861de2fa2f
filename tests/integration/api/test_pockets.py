"""Pockets and transfers to and from them over HTTP; what the chain does is tested elsewhere."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from domain.ids import new_id
from ledger import rules
from ledger.service import Ledger
from models.identity import Role
from tests.support.bank import (
    APPROVAL_LIFETIME,
    CHAIN_ID,
    DESTINATION,
    FEE_MINOR,
    FUNDS_MINOR,
    Bank,
    code_of,
    fund,
)
from tests.support.flows import until
from tests.support.identity import new_person

AUTOMATIC, ONE_APPROVER = "100", "5000"
ON_POCKET_MINOR = 10**17
"""More than any network fee that is set aside at this chain's ceiling."""


async def move(
    bank: Bank, route: str, amount: str, *, key: str | None = None, **fields: Any
) -> httpx.Response:
    body = {"route": route, "asset": "ETH", "amount": amount} | fields
    headers = {"Idempotency-Key": key or new_id("key")}
    return await bank.send("POST", "/v1/pocket-transfers", body=body, headers=headers)


async def explained(bank: Bank, transfer_id: str) -> str | None:
    answer = await bank.get(f"/v1/pocket-transfers/{transfer_id}/explain")
    return str(answer.json()["waiting_for"])


async def decide(bank: Bank, transfer_id: str, what: str) -> httpx.Response:
    person = await bank.person("ann", Role.APPROVER)
    path = f"/v1/pocket-transfers/{transfer_id}/{what}"
    return await bank.send("POST", path, person=person, body={"note": None})


async def pocket(bank: Bank) -> dict[str, Any]:
    answer = await bank.send("POST", "/v1/pockets", body={"chain_id": CHAIN_ID})
    assert answer.status_code == 201
    found: dict[str, Any] = answer.json()
    return found


async def filled(bank: Bank) -> dict[str, Any]:
    """Return the customer's pocket with something on it."""
    found = await pocket(bank)
    posting = rules.deposit_credit(
        deposit_id=new_id("dep"),
        credit=1,
        target=f"user:{bank.customer.id}:onchain:{CHAIN_ID}",
        chain_id=CHAIN_ID,
        asset="ETH",
        amount_minor=ON_POCKET_MINOR,
        at=bank.clock.now(),
        is_pocket=True,
    )
    await Ledger(bank.database).post(posting)
    return found


class TestPocket:
    async def test_is_one_for_each_chain(self, bank: Bank) -> None:
        first, second = await pocket(bank), await pocket(bank)
        assert first == second
        assert first["chain_id"] == CHAIN_ID
        assert (await bank.get("/v1/pockets")).json()["items"] == [first]
        assert (await bank.get(f"/v1/pockets/{first['id']}")).json() == first

    async def test_shows_what_is_on_it(self, bank: Bank) -> None:
        await filled(bank)
        (found,) = (await bank.get("/v1/pockets")).json()["items"]
        assert found["balances"] == [
            {"asset": "ETH", "available": str(ON_POCKET_MINOR), "held": "0"}
        ]
        assert await bank.balances() == (FUNDS_MINOR, 0)

    async def test_is_no_deposit_address(self, bank: Bank) -> None:
        found = await pocket(bank)
        assert (await bank.get("/v1/deposit-addresses")).json()["items"] == []
        answer = await bank.pay(AUTOMATIC, destination=found["address"])
        assert code_of(answer) == "forbidden_destination"

    async def test_of_somebody_else_is_not_found(self, bank: Bank) -> None:
        found = await pocket(bank)
        stranger = await (await new_person(bank.identity, bank.clock, name="other")).enrol()
        answer = await bank.get(f"/v1/pockets/{found['id']}", stranger)
        assert (answer.status_code, code_of(answer)) == (404, "pocket_not_found")

    async def test_on_no_chain_is_refused(self, bank: Bank) -> None:
        answer = await bank.send("POST", "/v1/pockets", body={"chain_id": "eip155:5"})
        assert code_of(answer) == "chain_not_found"


class TestFunding:
    async def test_freezes_at_once_and_makes_the_pocket(self, bank: Bank) -> None:
        answer = await move(bank, "fund", AUTOMATIC)
        transfer = answer.json()
        assert answer.status_code == 202
        path = f"/v1/pocket-transfers/{transfer['id']}"
        assert answer.headers["Location"].endswith(path)
        assert (transfer["status"], transfer["route"]) == ("ready", "fund")
        assert await bank.balances() == (FUNDS_MINOR - 100 - FEE_MINOR, 100 + FEE_MINOR)

        async def is_made() -> bool:
            return (await bank.get(path)).json()["pocket_id"] is not None

        await until(is_made)
        (found,) = (await bank.get("/v1/pockets")).json()["items"]
        shown = (await bank.get(path)).json()
        assert (shown["pocket_id"], shown["destination"]) == (found["id"], found["address"])
        assert (await bank.get("/v1/payouts")).json()["items"] == []
        listed = (await bank.get("/v1/pocket-transfers?route=fund")).json()["items"]
        assert [item["id"] for item in listed] == [transfer["id"]]

    async def test_is_approved_like_a_payout(self, bank: Bank) -> None:
        transfer = (await move(bank, "fund", ONE_APPROVER)).json()
        assert transfer["status"] == "awaiting_approval"
        assert (await bank.get("/v1/pockets")).json()["items"] == []
        assert await explained(bank, transfer["id"]) == "approval"
        answer = await decide(bank, transfer["id"], "approvals")
        assert (answer.json()["status"], answer.json()["approvals_received"]) == ("ready", 1)
        decisions = (await bank.get(f"/v1/pocket-transfers/{transfer['id']}")).json()["approvals"]
        assert [d["decision"] for d in decisions["decisions"]] == ["authorize", "approve"]
        assert await bank.broken_promise() is None

    @pytest.mark.parametrize(("what", "status"), [("rejections", "rejected"), ("", "cancelled")])
    async def test_that_does_not_take_place_gives_the_money_back(
        self, bank: Bank, what: str, status: str
    ) -> None:
        transfer = (await move(bank, "fund", ONE_APPROVER)).json()
        if what:
            answer = await decide(bank, transfer["id"], what)
        else:
            path = f"/v1/pocket-transfers/{transfer['id']}/cancellation"
            answer = await bank.send("POST", path)
        assert answer.json()["status"] == status
        assert await bank.balances() == (FUNDS_MINOR, 0)
        assert (await bank.get("/v1/pockets")).json()["items"] == []

    async def test_that_nobody_approves_in_time_is_refused_afterwards(self, bank: Bank) -> None:
        transfer = (await move(bank, "fund", ONE_APPROVER)).json()
        bank.clock.advance(APPROVAL_LIFETIME + timedelta(seconds=1))
        answer = await decide(bank, transfer["id"], "approvals")
        assert code_of(answer) == "approval_expired"

    async def test_twice_with_one_key_is_once(self, bank: Bank) -> None:
        first = await move(bank, "fund", AUTOMATIC, key="k")
        second = await move(bank, "fund", AUTOMATIC, key="k")
        assert first.json()["id"] == second.json()["id"]
        assert await bank.balances() == (FUNDS_MINOR - 100 - FEE_MINOR, 100 + FEE_MINOR)
        assert code_of(await move(bank, "fund", "101", key="k")) == "idempotency_key_reused"

    async def test_of_more_than_is_there_is_refused(self, bank: Bank) -> None:
        for _ in range(2):
            answer = await move(bank, "fund", str(FUNDS_MINOR), key="k")
            assert code_of(answer) == "insufficient_available_balance"
        assert await bank.balances() == (FUNDS_MINOR, 0)


class TestSpending:
    async def test_freezes_the_pocket_and_its_network_fee(self, bank: Bank) -> None:
        await filled(bank)
        transfer = (await move(bank, "send", AUTOMATIC, destination=DESTINATION)).json()
        assert (transfer["status"], transfer["network_fee_paid_by"]) == ("ready", "pocket")
        most_minor = int(transfer["network_fee_most"])
        (found,) = (await bank.get("/v1/pockets")).json()["items"]
        assert found["balances"] == [
            {
                "asset": "ETH",
                "available": str(ON_POCKET_MINOR - 100 - most_minor),
                "held": str(100 + most_minor),
            }
        ]
        assert await bank.balances() == (FUNDS_MINOR, 0)
        assert await explained(bank, transfer["id"]) == "planning"
        path = f"/v1/pocket-transfers/{transfer['id']}/cancellation"
        assert (await bank.send("POST", path)).json()["status"] == "cancelled"
        (found,) = (await bank.get("/v1/pockets")).json()["items"]
        assert found["balances"][0]["available"] == str(ON_POCKET_MINOR)

    async def test_of_all_leaves_the_fee(self, bank: Bank) -> None:
        await filled(bank)
        transfer = (await move(bank, "redeem", "all")).json()
        most_minor = int(transfer["network_fee_most"])
        assert int(transfer["amount"]) == ON_POCKET_MINOR - most_minor
        assert (transfer["destination"], transfer["approvals_required"]) == (None, 0)

    async def test_needs_approval_where_the_policy_says_so(self, bank: Bank) -> None:
        await filled(bank)
        transfer = (await move(bank, "send", ONE_APPROVER, destination=DESTINATION)).json()
        assert transfer["status"] == "awaiting_approval"
        assert (await decide(bank, transfer["id"], "approvals")).json()["status"] == "ready"

    async def test_without_a_code_is_refused(self, bank: Bank) -> None:
        await filled(bank)
        answer = await bank.send(
            "POST",
            "/v1/pocket-transfers",
            body={"route": "redeem", "asset": "ETH", "amount": "5"},
            headers={"Idempotency-Key": "k", "TOTP-Code": ""},
        )
        assert code_of(answer) == "second_factor_required"
        assert (await bank.get("/v1/pocket-transfers")).json()["items"] == []


class TestBadRequest:
    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"route": "payout"}, "validation_failed"),
            ({"route": "elsewhere"}, "validation_failed"),
            ({"route": "send"}, "validation_failed"),
            ({"destination": DESTINATION}, "validation_failed"),
            ({"amount": "all"}, "validation_failed"),
            ({"amount": "-1"}, "validation_failed"),
            ({"amount": 5}, "validation_failed"),
            ({"amount": "0"}, "invalid_amount"),
            ({"amount": "4"}, "amount_out_of_range"),
            ({"asset": "DOGE"}, "unknown_asset"),
            ({"to_asset": "USD"}, "conversion_unavailable"),
            ({"surprise": 1}, "validation_failed"),
            ({"route": "send", "destination": "0x12"}, "invalid_address"),
            ({"route": "redeem"}, "insufficient_available_balance"),
        ],
    )
    async def test_moves_nothing(self, bank: Bank, fields: dict[str, Any], code: str) -> None:
        body = {"route": "fund", "asset": "ETH", "amount": AUTOMATIC} | fields
        answer = await bank.send(
            "POST", "/v1/pocket-transfers", body=body, headers={"Idempotency-Key": new_id("key")}
        )
        assert code_of(answer) == code
        assert await bank.balances() == (FUNDS_MINOR, 0)
        assert await bank.broken_promise() is None

    async def test_a_transfer_of_somebody_else_is_not_found(self, bank: Bank) -> None:
        transfer = (await move(bank, "fund", AUTOMATIC)).json()
        stranger = await (await new_person(bank.identity, bank.clock, name="other")).enrol()
        await fund(bank.database, stranger.id, bank.clock)
        path = f"/v1/pocket-transfers/{transfer['id']}"
        assert code_of(await bank.get(path, stranger)) == "pocket_transfer_not_found"
        answer = await bank.send("POST", f"{path}/cancellation", person=stranger)
        assert code_of(answer) == "pocket_transfer_not_found"
        assert (await bank.get("/v1/pocket-transfers", stranger)).json()["items"] == []
