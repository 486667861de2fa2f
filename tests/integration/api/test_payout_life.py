"""Payouts from the request on, as the API shows them; what the chain does is tested elsewhere."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from temporalio.testing import WorkflowEnvironment

from domain.ids import new_id
from domain.workflow_ids import payout_workflow_id
from models.identity import Role
from outgoing.log import PostgresOutgoingLog
from tests.support.bank import (
    APPROVAL_LIFETIME,
    CHAIN_ID,
    FEE_MINOR,
    FUNDS_MINOR,
    HOT_WALLET,
    Bank,
    code_of,
    fund,
)
from tests.support.flows import until
from tests.support.identity import Person

AUTOMATIC, ONE_APPROVER, TWO_APPROVERS = "100", "5000", "20000"


async def approver(bank: Bank, name: str) -> Person:
    return await bank.person(name, Role.APPROVER)


async def explained(bank: Bank, payout_id: str) -> tuple[str, str | None]:
    answer = (await bank.get(f"/v1/payouts/{payout_id}/explain")).json()
    return answer["explanation"], answer["waiting_for"]


async def claim(bank: Bank) -> str:
    log = PostgresOutgoingLog(bank.database, bank.clock)
    batch_id = await log.claim(
        chain_id=CHAIN_ID, wallet_address=HOT_WALLET, claim_key=new_id("claim")
    )
    assert batch_id is not None
    return batch_id


class TestPayout:
    async def test_is_accepted_and_held(self, bank: Bank) -> None:
        answer = await bank.pay(AUTOMATIC, note="invoice 1")

        payout = answer.json()
        assert answer.status_code == 202
        assert answer.headers["Location"].endswith(f"/v1/payouts/{payout['id']}")
        assert (payout["status"], payout["amount"], payout["fee"]) == ("ready", "100", "10")
        assert payout["workflow_id"] == payout_workflow_id(payout["id"])
        assert await bank.balances() == (FUNDS_MINOR - 110, 110)
        assert await bank.statement_kinds() == ["deposit", "payout_freeze"]
        assert (await bank.get(f"/v1/payouts/{payout['id']}")).json() == payout
        assert await explained(bank, payout["id"]) == (
            "Approved; waiting for the next batch.",
            "batch",
        )

    async def test_is_ready_after_as_many_approvals_as_the_policy_asks(self, bank: Bank) -> None:
        payout = (await bank.pay(TWO_APPROVERS)).json()
        sentence, waiting_for = await explained(bank, payout["id"])
        first = await bank.decide(payout["id"], "approvals", await approver(bank, "ann"))
        after_first, _ = await explained(bank, payout["id"])
        second = await bank.decide(payout["id"], "approvals", await approver(bank, "ben"))
        shown = (await bank.get(f"/v1/payouts/{payout['id']}")).json()

        assert payout["status"] == "awaiting_approval"
        assert sentence.startswith("Waiting for approval 1 of 2, until ")
        assert waiting_for == "approval"
        assert after_first.startswith("Waiting for approval 2 of 2")
        assert (first.json()["status"], first.json()["approvals_received"]) == (
            "awaiting_approval",
            1,
        )
        assert (second.json()["status"], second.json()["approvals_received"]) == ("ready", 2)
        assert [d["second_factor"] for d in shown["approvals"]["decisions"]] == ["totp", "totp"]
        assert [e["status"] for e in shown["history"]] == ["awaiting_approval", "ready"]
        assert await bank.broken_promise() is None

    @pytest.mark.parametrize("what", ["rejections", "cancellation"])
    async def test_gives_everything_back_when_it_does_not_happen(
        self, bank: Bank, what: str
    ) -> None:
        payout = (await bank.pay(ONE_APPROVER)).json()
        who = await approver(bank, "ann") if what == "rejections" else bank.customer
        held = await bank.balances()
        answer = await bank.decide(payout["id"], what, who)

        status = {"rejections": "rejected", "cancellation": "cancelled"}[what]
        assert answer.json()["status"] == status
        assert held == (FUNDS_MINOR - 5_010, 5_010)
        assert await bank.balances() == (FUNDS_MINOR, 0)
        assert (await bank.statement_kinds())[:2] == ["deposit", "payout_freeze"]
        assert len(await bank.statement_kinds()) == 3
        assert (await explained(bank, payout["id"]))[0].lower().startswith(status)
        assert await bank.broken_promise() is None

    async def test_can_be_taken_back_until_a_batch_has_it(self, bank: Bank) -> None:
        payout = (await bank.pay(AUTOMATIC)).json()
        await claim(bank)
        answer = await bank.send("POST", f"/v1/payouts/{payout['id']}/cancellation")

        assert (answer.status_code, code_of(answer)) == (409, "payout_state")
        assert await bank.balances() == (FUNDS_MINOR - 110, 110)
        assert await explained(bank, payout["id"]) == (
            "In a batch; its fee is being planned.",
            "fee",
        )

    async def test_waits_for_the_signer_by_name(self, bank: Bank) -> None:
        payout = (await bank.pay(AUTOMATIC)).json()
        log = PostgresOutgoingLog(bank.database, bank.clock)
        batch_id = await claim(bank)
        async with bank.database.statement() as connection:
            await connection.execute(text("UPDATE chain_transaction SET gas_limit = 21000"))
        await log.allocate(batch_id)

        assert await explained(bank, payout["id"]) == (
            "Waiting for the signer, which has never run.",
            "signer",
        )

    async def test_is_refunded_by_an_operator_while_it_is_unsigned(self, bank: Bank) -> None:
        payout = (await bank.pay(AUTOMATIC)).json()
        await claim(bank)
        operator = await bank.person("olga", Role.OPERATOR)
        answer = await bank.decide(payout["id"], "refunds", operator)
        again = await bank.decide(payout["id"], "refunds", operator)

        assert (answer.status_code, answer.json()["status"]) == (200, "refunded")
        assert (again.status_code, code_of(again)) == (409, "payout_state")
        assert await bank.balances() == (FUNDS_MINOR, 0)
        assert await bank.broken_promise() is None

    async def test_that_is_on_its_way_is_not_tried_again(self, bank: Bank) -> None:
        payout = (await bank.pay(AUTOMATIC)).json()
        operator = await bank.person("olga", Role.OPERATOR)
        outside = await bank.decide(payout["id"], "retries", operator)
        await claim(bank)
        inside = await bank.decide(payout["id"], "retries", operator)

        assert [code_of(a) for a in (outside, inside)] == ["payout_state"] * 2


class TestApproval:
    async def test_counts_once(self, bank: Bank) -> None:
        payout = (await bank.pay(TWO_APPROVERS)).json()
        ann = await approver(bank, "ann")
        first = await bank.decide(payout["id"], "approvals", ann)
        again = await bank.decide(payout["id"], "approvals", ann)

        assert first.status_code == 200
        assert (again.status_code, code_of(again)) == (409, "already_decided")
        assert (await bank.get(f"/v1/payouts/{payout['id']}")).json()["approvals"]["received"] == 1

    async def test_is_refused_on_ones_own_request(self, bank: Bank) -> None:
        ann = await approver(bank, "ann")
        await fund(bank.database, ann.id, bank.clock)
        payout = (await bank.pay(ONE_APPROVER, person=ann)).json()
        answer = await bank.decide(payout["id"], "approvals", ann)

        assert (answer.status_code, code_of(answer)) == (403, "own_request")
        assert await bank.balances(ann) == (FUNDS_MINOR - 5_010, 5_010)

    async def test_is_refused_to_who_has_no_role(self, bank: Bank) -> None:
        payout = (await bank.pay(ONE_APPROVER)).json()
        answer = await bank.decide(payout["id"], "approvals", await bank.person("nobody"))

        assert code_of(answer) == "role_missing"

    async def test_is_refused_when_it_is_overdue(self, bank: Bank) -> None:
        payout = (await bank.pay(ONE_APPROVER)).json()
        ann = await approver(bank, "ann")
        bank.clock.advance(APPROVAL_LIFETIME)
        answer = await bank.decide(payout["id"], "approvals", ann)

        assert (answer.status_code, code_of(answer)) == (409, "approval_expired")
        assert (await bank.payouts())[0]["status"] == "awaiting_approval"

    async def test_is_refused_after_the_payout_expired(
        self, bank: Bank, temporal: WorkflowEnvironment
    ) -> None:
        payout = (await bank.pay(ONE_APPROVER)).json()
        ann = await approver(bank, "ann")
        handle = temporal.client.get_workflow_handle(payout["workflow_id"])
        await temporal.fast_forward(handle, APPROVAL_LIFETIME + timedelta(minutes=10))
        await handle.result()
        answer = await bank.decide(payout["id"], "approvals", ann)

        assert (answer.status_code, code_of(answer)) == (409, "payout_state")
        assert (await bank.payouts())[0]["status"] == "expired"
        assert await bank.balances() == (FUNDS_MINOR, 0)
        assert (await explained(bank, payout["id"])) == ("Expired.", None)

    async def test_of_a_payout_that_does_not_exist_is_refused(self, bank: Bank) -> None:
        answer = await bank.decide(f"pay_{'0' * 26}", "approvals", await approver(bank, "ann"))

        assert (answer.status_code, code_of(answer)) == (404, "payout_not_found")

    async def test_of_two_at_once_ends_with_both_counted(self, bank: Bank) -> None:
        payout = (await bank.pay(TWO_APPROVERS)).json()
        people = [await approver(bank, name) for name in ("ann", "ben")]
        for person in people:
            assert (await bank.decide(payout["id"], "approvals", person)).status_code == 200

        async def is_ready() -> bool:
            return bool((await bank.payouts())[0]["status"] == "ready")

        await until(is_ready)


class TestPolicy:
    async def test_has_versions_and_payouts_keep_theirs(self, bank: Bank) -> None:
        owner = await bank.person("owner", Role.OWNER)
        before = (await bank.pay(ONE_APPROVER)).json()
        document = {"rules": [{"asset": "*", "approvals": 0}]}
        stored = await bank.send("PUT", "/v1/policy", person=owner, body=document)
        after = (await bank.pay(ONE_APPROVER)).json()

        current = (await bank.get("/v1/policy", owner)).json()
        first_page = (await bank.get("/v1/policy/versions?limit=2", owner)).json()
        cursor = first_page["next_cursor"]
        rest = (await bank.get(f"/v1/policy/versions?cursor={cursor}", owner)).json()
        versions = [v["version"] for v in first_page["items"] + rest["items"]]
        assert stored.status_code == 200
        assert current == stored.json()
        assert current["created_by"] == owner.id
        assert versions == [3, 2, 1]
        assert (before["status"], after["status"]) == ("awaiting_approval", "ready")
        assert before["approvals"]["policy_version"] == 2
        assert after["approvals"]["policy_version"] == 3

    @pytest.mark.parametrize(
        ("document", "code"),
        [
            ({"rules": [{"asset": "XXX", "approvals": 0}]}, "invalid_policy"),
            ({"rules": [{"asset": "*", "approvals": -1}]}, "validation_failed"),
            ({"rules": [{"asset": "*", "approvals": 1}] * 2}, "validation_failed"),
            ({"rules": [], "fallback_approvals": 0}, "validation_failed"),
            ({"rules": [], "surprise": 1}, "validation_failed"),
            ({}, "validation_failed"),
        ],
    )
    async def test_is_refused_when_it_makes_no_sense(
        self, bank: Bank, document: dict[str, object], code: str
    ) -> None:
        owner = await bank.person("owner", Role.OWNER)
        answer = await bank.send("PUT", "/v1/policy", person=owner, body=document)

        assert (answer.status_code, code_of(answer)) == (422, code)
        assert (await bank.get("/v1/policy", owner)).json()["version"] == 2

    async def test_is_changed_by_owners_alone(self, bank: Bank) -> None:
        ann = await approver(bank, "ann")
        answer = await bank.send("PUT", "/v1/policy", person=ann, body={"rules": []})

        assert code_of(answer) == "role_missing"


class TestCatalogAndWallets:
    async def test_show_assets_and_what_the_books_hold(self, bank: Bank) -> None:
        operator = await bank.person("olga", Role.OPERATOR)
        assets = (await bank.get("/v1/assets")).json()["items"]
        wallets = (await bank.get("/v1/hot-wallets", operator)).json()["items"]

        assert [a["code"] for a in assets] == ["ETH", "USD"]
        assert assets[0]["payout_fee"] == str(FEE_MINOR)
        assert wallets[0]["address"] == HOT_WALLET
        assert wallets[0]["booked"]["ETH"] == str(FUNDS_MINOR)

    async def test_statement_comes_in_pages(self, bank: Bank) -> None:
        for _ in range(2):
            await bank.pay(AUTOMATIC)
        first = (await bank.get("/v1/wallets/ETH/statement?limit=2")).json()
        cursor = first["next_cursor"]
        rest = (await bank.get(f"/v1/wallets/ETH/statement?cursor={cursor}")).json()

        lines = first["items"] + rest["items"]
        assert [line["position"] for line in lines] == [3, 2, 1]
        assert [line["balance_after"] for line in lines] == ["49780", "49890", "50000"]
        assert rest["next_cursor"] is None

    async def test_balance_of_the_past_is_what_it_was(self, bank: Bank) -> None:
        moment = bank.clock.now() + timedelta(seconds=1)
        bank.clock.advance(timedelta(minutes=1))
        await bank.pay(AUTOMATIC)
        answer = await bank.client.get(
            "/v1/wallets", params={"as_of": moment.isoformat()}, headers=bank.customer.headers
        )

        (eth,) = [b for b in answer.json()["balances"] if b["asset"] == "ETH"]
        assert (eth["available"], eth["held"]) == (str(FUNDS_MINOR), "0")


class TestMoment:
    @pytest.mark.parametrize("moment", ["9", "1767225600", "2026-01-31T12:00:00", "yesterday", ""])
    async def test_is_refused_unless_it_is_written_out_with_its_zone(
        self, bank: Bank, moment: str
    ) -> None:
        answer = await bank.client.get(
            "/v1/wallets", params={"as_of": moment}, headers=bank.customer.headers
        )

        assert (answer.status_code, code_of(answer)) == (422, "validation_failed")
