"""Conversions of pockets over HTTP: quotes, transfers, what they show, bad requests."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from domain.ids import new_id
from ledger import rules
from ledger.service import Ledger
from models.identity import Role
from tests.support.bank import CHAIN_ID, DESTINATION, FEE_MINOR, FUNDS_MINOR, Bank, code_of
from tests.support.converting_bank import ITD_MINOR, ITD_PER_WEI, let_convert
from tests.support.identity import new_person

NO_CODE = {"TOTP-Code": ""}
FEE_ITD = FEE_MINOR * ITD_PER_WEI


@pytest.fixture
async def converting(bank: Bank) -> Bank:
    await let_convert(bank)
    return bank


async def quote(bank: Bank, pay: str, buy: str, amount: int, **changes: Any) -> dict[str, Any]:
    body = {
        "purpose": "conversion",
        "pay_asset": pay,
        "buy_asset": buy,
        "side": "pay",
        "amount": str(amount),
    }
    answer = await bank.send("POST", "/v1/quotes", body=body | changes, headers=NO_CODE)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def convert(
    bank: Bank, route: str, quoted: dict[str, Any], *, key: str | None = None, **changes: Any
) -> httpx.Response:
    body = {
        "route": route,
        "asset": quoted["pay_asset"],
        "to_asset": quoted["buy_asset"],
        "amount": quoted["pay_amount"],
        "quote_id": quoted["id"],
    } | changes
    headers = {"Idempotency-Key": key or new_id("key")}
    kept = {name: value for name, value in body.items() if value is not None}
    return await bank.send("POST", "/v1/pocket-transfers", body=kept, headers=headers)


async def itd(bank: Bank) -> tuple[int, int]:
    balances = (await bank.get("/v1/wallets")).json()["balances"]
    (found,) = [b for b in balances if b["asset"] == "ITD"]
    return int(found["available"]), int(found["held"])


class TestFunding:
    async def test_holds_what_is_paid_and_shows_both_sides(self, converting: Bank) -> None:
        quoted = await quote(converting, "ITD", "ETH", 100 * ITD_PER_WEI)
        assert (quoted["purpose"], quoted["buy_amount"]) == ("conversion", "100")
        answer = await convert(converting, "fund", quoted)
        transfer = answer.json()

        assert (answer.status_code, transfer["status"]) == (202, "ready")
        assert (transfer["asset"], transfer["to_asset"]) == ("ITD", "ETH")
        assert transfer["amount"] == str(100 * ITD_PER_WEI)
        assert transfer["fee"] == str(FEE_ITD)
        assert transfer["chain_id"] == CHAIN_ID
        assert transfer["conversion"]["quote_id"] == quoted["id"]
        assert transfer["conversion"]["buy_amount"] == "100"
        assert transfer["conversion"]["got"] == "0"
        held_minor = 100 * ITD_PER_WEI + FEE_ITD
        assert await itd(converting) == (ITD_MINOR - held_minor, held_minor)
        (listed,) = (await converting.get("/v1/pocket-transfers")).json()["items"]
        assert listed["conversion"] == transfer["conversion"]
        assert await converting.broken_promise() is None

    async def test_is_one_transaction_with_its_quote(self, converting: Bank) -> None:
        quoted = await quote(converting, "ITD", "ETH", 100 * ITD_PER_WEI)
        transfer = (await convert(converting, "fund", quoted)).json()
        for query in ("?asset=ITD", "?asset=ETH", f"?group_id={quoted['id']}"):
            found = (await converting.get(f"/v1/transactions{query}")).json()["items"]
            assert [item["id"] for item in found] == [transfer["id"]]
        (shown,) = (await converting.get("/v1/transactions")).json()["items"]
        assert shown["kind"] == "pocket_transfer"
        assert (shown["asset"], shown["amount"]) == ("ITD", transfer["amount"])
        assert (shown["to_asset"], shown["to_amount"]) == ("ETH", "100")
        assert shown["fee"] == str(FEE_ITD)

    async def test_is_approved_by_what_the_chain_moves(self, converting: Bank) -> None:
        quoted = await quote(converting, "ITD", "ETH", 5_000 * ITD_PER_WEI)
        transfer = (await convert(converting, "fund", quoted)).json()
        assert transfer["status"] == "awaiting_approval"
        ann = await converting.person("ann", Role.APPROVER)
        path = f"/v1/pocket-transfers/{transfer['id']}"
        answer = await converting.send("POST", f"{path}/approvals", person=ann, body={"note": None})
        assert answer.json()["status"] == "ready"

    @pytest.mark.parametrize("what", ["rejections", "cancellation"])
    async def test_that_does_not_take_place_gives_all_back(
        self, converting: Bank, what: str
    ) -> None:
        quoted = await quote(converting, "ITD", "ETH", 5_000 * ITD_PER_WEI)
        transfer = (await convert(converting, "fund", quoted)).json()
        ann = await converting.person("ann", Role.APPROVER)
        path = f"/v1/pocket-transfers/{transfer['id']}/{what}"
        body = {"note": None} if what == "rejections" else None
        person = ann if what == "rejections" else converting.customer
        answer = await converting.send("POST", path, person=person, body=body)

        assert answer.json()["status"] in {"rejected", "cancelled"}
        assert await itd(converting) == (ITD_MINOR, 0)
        assert code_of(await convert(converting, "fund", quoted)) == "quote_used"

    async def test_twice_with_one_key_is_once(self, converting: Bank) -> None:
        quoted = await quote(converting, "ITD", "ETH", 100 * ITD_PER_WEI)
        first, second = [
            (await convert(converting, "fund", quoted, key="k")).json() for _ in range(2)
        ]
        assert first["id"] == second["id"]
        assert (await itd(converting))[1] == 100 * ITD_PER_WEI + FEE_ITD


class TestRedeeming:
    async def test_holds_what_lies_on_the_pocket(self, converting: Bank) -> None:
        bank = converting
        await bank.send("POST", "/v1/pockets", body={"chain_id": CHAIN_ID})
        posting = rules.deposit_credit(
            deposit_id=new_id("dep"),
            credit=1,
            target=f"user:{bank.customer.id}:onchain:{CHAIN_ID}",
            chain_id=CHAIN_ID,
            asset="ETH",
            amount_minor=10**17,
            at=bank.clock.now(),
            is_pocket=True,
        )
        await Ledger(bank.database).post(posting)
        quoted = await quote(bank, "ETH", "ITD", 100)
        transfer = (await convert(bank, "redeem", quoted)).json()

        assert (transfer["asset"], transfer["amount"], transfer["fee"]) == ("ETH", "100", "0")
        assert transfer["conversion"]["buy_amount"] == str(100 * ITD_PER_WEI)
        assert await itd(bank) == (ITD_MINOR, 0)
        (pocket,) = (await bank.get("/v1/pockets")).json()["items"]
        most_minor = int(transfer["network_fee_most"])
        assert pocket["balances"][0]["held"] == str(100 + most_minor)


class TestBadRequest:
    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"quote_id": None}, "conversion_unavailable"),
            ({"quote_id": "quo_" + "0" * 26}, "quote_not_found"),
            ({"quote_id": "pay_" + "0" * 26}, "validation_failed"),
            ({"quote_id": 5}, "validation_failed"),
            ({"amount": "199999"}, "quote_mismatch"),
            ({"amount": "200001"}, "quote_mismatch"),
            ({"amount": "all"}, "validation_failed"),
            ({"to_asset": None}, "internal_asset"),
            ({"to_asset": "USD"}, "quote_mismatch"),
            ({"to_asset": "DOGE"}, "unknown_asset"),
            ({"asset": "ETH"}, "quote_mismatch"),
            ({"route": "redeem"}, "internal_asset"),
            ({"route": "send", "destination": DESTINATION}, "validation_failed"),
        ],
    )
    async def test_moves_nothing_and_leaves_the_quote(
        self, converting: Bank, changes: dict[str, Any], code: str
    ) -> None:
        quoted = await quote(converting, "ITD", "ETH", 100 * ITD_PER_WEI)
        asked = {"route": "fund"} | changes
        assert code_of(await convert(converting, quoted=quoted, **asked)) == code
        assert await itd(converting) == (ITD_MINOR, 0)
        assert await converting.balances() == (FUNDS_MINOR, 0)
        assert (await convert(converting, "fund", quoted)).status_code == 202

    async def test_with_somebody_elses_quote(self, converting: Bank) -> None:
        quoted = await quote(converting, "ITD", "ETH", 100 * ITD_PER_WEI)
        other = await (await new_person(converting.identity, converting.clock, name="bob")).enrol()
        body = {
            "route": "fund",
            "asset": "ITD",
            "to_asset": "ETH",
            "amount": quoted["pay_amount"],
            "quote_id": quoted["id"],
        }
        answer = await converting.send(
            "POST",
            "/v1/pocket-transfers",
            person=other,
            body=body,
            headers={"Idempotency-Key": new_id("key")},
        )
        assert code_of(answer) == "quote_not_found"

    async def test_after_the_quote_expired(self, converting: Bank) -> None:
        quoted = await quote(converting, "ITD", "ETH", 100 * ITD_PER_WEI)
        converting.clock.advance(timedelta(seconds=121))
        assert code_of(await convert(converting, "fund", quoted)) == "quote_expired"
        assert await itd(converting) == (ITD_MINOR, 0)

    async def test_of_more_than_is_set_aside(self, converting: Bank) -> None:
        quoted = await quote(converting, "ITD", "ETH", 10**7, side="buy")
        answer = await convert(converting, "fund", quoted)
        assert code_of(answer) == "conversion_stock_short"
        assert await itd(converting) == (ITD_MINOR, 0)

    async def test_a_quote_for_a_purchase_converts_nothing(self, converting: Bank) -> None:
        quoted = await quote(converting, "ETH", "ITD", 10**6, purpose="purchase")
        answer = await convert(converting, "redeem", quoted)
        assert code_of(answer) == "quote_mismatch"

    async def test_a_quote_for_a_conversion_buys_nothing(self, converting: Bank) -> None:
        quoted = await quote(converting, "ETH", "ITD", 100)
        answer = await converting.send(
            "POST",
            "/v1/purchases",
            body={"quote_id": quoted["id"]},
            headers={"Idempotency-Key": new_id("key")},
        )
        assert code_of(answer) == "quote_mismatch"

    async def test_a_quote_for_anything_else_is_no_quote(self, converting: Bank) -> None:
        body = {
            "purpose": "mischief",
            "pay_asset": "ITD",
            "buy_asset": "ETH",
            "side": "pay",
            "amount": "5",
        }
        answer = await converting.send("POST", "/v1/quotes", body=body)
        assert code_of(answer) == "validation_failed"


class TestRates:
    async def test_before_there_are_any_are_empty(self, bank: Bank) -> None:
        answer = await bank.get("/v1/rates")
        assert answer.status_code == 200
        assert answer.json()["version"] is None
        assert answer.json()["document"]["pairs"] == answer.json()["prices"] == []
