"""KYC and limits over HTTP, with the API as its own database role."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from domain.ids import new_id
from infra.database import Database
from models.identity import Role
from tests.support.bank import Bank, code_of
from tests.support.books import as_role
from tests.support.identity import Person

APPLICATIONS = "/v1/kyc/applications"
UNLIMITED: dict[str, Any] = {"limits": []}


@pytest.fixture
async def bank(bank: Bank, database_url: str) -> AsyncIterator[Bank]:
    database = Database(as_role(database_url, "api"))
    async with bank.without(database=database) as client:
        bank.client = client
        yield bank
    await database.close()


def document(name: str = "passport.pdf", **fields: Any) -> dict[str, Any]:
    return {
        "kind": "passport",
        "file_name": name,
        "sha256": sha256(name.encode()).hexdigest(),
        "size_bytes": 1234,
        "issued_country": "CH",
    } | fields


def application(level: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "level": level,
        "full_name": "Ada Lovelace",
        "born_on": "1985-12-10",
        "residence_country": "CH",
        "documents": [document()],
    } | fields


async def applied(bank: Bank, *, person: Person | None = None, **fields: Any) -> str:
    answer = await bank.send(
        "POST",
        APPLICATIONS,
        person=person,
        body=application(**fields),
        headers={"Idempotency-Key": new_id("key")},
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def decide(bank: Bank, application_id: str, what: str, person: Person, **body: Any) -> Any:
    path = f"{APPLICATIONS}/{application_id}/{what}"
    return await bank.send("POST", path, person=person, body={"revision": 1} | body)


async def put_limits(bank: Bank, *rows: dict[str, Any]) -> None:
    owner = await bank.person("olive", Role.OWNER)
    answer = await bank.send("PUT", "/v1/limits", person=owner, body={"limits": list(rows)})
    assert answer.status_code == 200, answer.text


def row(level: int, **caps: Any) -> dict[str, Any]:
    return {
        "level": level, "operation": "payout", "asset": "ETH", "window": "24h", "count": None,
        "amount_minor": None,
    } | caps  # fmt: skip


class TestApplication:
    async def test_is_asked_for_reviewed_and_granted(self, bank: Bank) -> None:
        rita = await bank.person("rita", Role.APPROVER)
        key = {"Idempotency-Key": "mine"}
        body = application(2)
        first = await bank.send("POST", APPLICATIONS, body=body, headers=key)
        again = await bank.send("POST", APPLICATIONS, body=body, headers=key)
        assert (first.status_code, again.json()) == (202, first.json())
        found = first.json()
        assert first.headers["Location"].endswith(f"{APPLICATIONS}/{found['id']}")
        assert (found["status"], found["full_name"]) == ("in_review", "Ada Lovelace")
        assert [line["status"] for line in found["history"]] == ["submitted", "in_review"]
        assert found["decisions"] is None
        other = await bank.send("POST", APPLICATIONS, body=application(1), headers=key)
        assert code_of(other) == "idempotency_key_reused"

        listed = (await bank.get(f"{APPLICATIONS}?scope=all&status=in_review", rita)).json()
        assert [one["id"] for one in listed["items"]] == [found["id"]]
        assert "full_name" not in listed["items"][0]
        approved = await decide(bank, found["id"], "approvals", rita)
        assert approved.json() == {
            "application_id": found["id"],
            "status": "approved",
            "revision": 1,
            "level": 2,
        }
        mine = (await bank.get("/v1/kyc")).json()
        assert (mine["level"], mine["open_application"]) == (2, None)
        shown = (await bank.get(f"{APPLICATIONS}/{found['id']}", rita)).json()
        assert [one["admin_id"] for one in shown["decisions"]] == [rita.id]
        assert await bank.broken_promise() is None

    async def test_goes_on_with_what_was_asked_for(self, bank: Bank) -> None:
        rita = await bank.person("rita", Role.APPROVER)
        application_id = await applied(bank)
        path = f"{APPLICATIONS}/{application_id}/documents"
        more = {"documents": [document("proof.pdf")]}
        assert code_of(await bank.send("POST", path, body=more)) == "kyc_application_state"
        note = "A proof of address, please."
        asked = await decide(bank, application_id, "information-requests", rita, note=note)
        assert asked.json()["status"] == "information_requested"
        assert (await bank.get(f"{APPLICATIONS}/{application_id}")).json()["note"] == note
        same = await bank.send("POST", path, body={"documents": [document()]})
        assert code_of(same) == "invalid_document"
        supplied = await bank.send("POST", path, body=more)
        assert (supplied.json()["status"], supplied.json()["revision"]) == ("in_review", 2)
        unseen = await decide(bank, application_id, "approvals", rita)
        assert code_of(unseen) == "kyc_application_state"
        seen = await decide(bank, application_id, "approvals", rita, revision=2)
        assert seen.json()["level"] == 1

    async def test_is_decided_on_by_somebody_else(self, bank: Bank) -> None:
        rita = await bank.person("rita", Role.APPROVER)
        application_id = await applied(bank, person=rita)
        own = await decide(bank, application_id, "approvals", rita)
        assert (own.status_code, code_of(own)) == (403, "own_request")
        owner = await bank.person("olive", Role.OWNER)
        assert code_of(await decide(bank, application_id, "approvals", owner)) == "role_missing"

    async def test_is_decided_on_with_a_second_factor(self, bank: Bank) -> None:
        rita = await bank.person("rita", Role.APPROVER)
        application_id = await applied(bank)
        path = f"{APPLICATIONS}/{application_id}/approvals"
        headers = {"TOTP-Code": ""}
        none = await bank.send("POST", path, person=rita, body={"revision": 1}, headers=headers)
        assert code_of(none) == "second_factor_required"
        headers = {"TOTP-Code": rita.wrong_code()}
        wrong = await bank.send("POST", path, person=rita, body={"revision": 1}, headers=headers)
        assert code_of(wrong) == "second_factor_invalid"
        assert (await bank.get("/v1/kyc")).json()["level"] == 0

    async def test_is_nobody_elses_business(self, bank: Bank) -> None:
        application_id = await applied(bank)
        stranger = await bank.person("eve")
        for method, suffix in (("GET", ""), ("POST", "/withdrawal")):
            path = f"{APPLICATIONS}/{application_id}{suffix}"
            answer = await bank.send(method, path, person=stranger)
            assert code_of(answer) == "kyc_application_not_found"
        assert (await bank.get(APPLICATIONS, stranger)).json()["items"] == []
        assert code_of(await bank.get(f"{APPLICATIONS}?scope=all", stranger)) == "role_missing"
        operator = await bank.person("oscar", Role.OPERATOR)
        assert (await bank.get(f"{APPLICATIONS}/{application_id}", operator)).status_code == 404

    async def test_is_withdrawn_and_rejected(self, bank: Bank) -> None:
        rita = await bank.person("rita", Role.APPROVER)
        first = await applied(bank)
        body = application(2)
        headers = {"Idempotency-Key": "second"}
        second = await bank.send("POST", APPLICATIONS, body=body, headers=headers)
        assert (second.status_code, code_of(second)) == (409, "kyc_application_state")
        for _ in range(2):
            answer = await bank.send("POST", f"{APPLICATIONS}/{first}/withdrawal")
            assert answer.json()["status"] == "withdrawn"
        late = await decide(bank, first, "approvals", rita)
        assert code_of(late) == "kyc_application_state"
        again = await applied(bank)
        rejected = await decide(bank, again, "rejections", rita, note="Not readable.")
        assert rejected.json() == {
            "application_id": again, "status": "rejected", "revision": 1, "level": 0,
        }  # fmt: skip

    @pytest.mark.parametrize(
        "fields",
        [
            {"level": 0},
            {"level": 4},
            {"level": "1"},
            {"full_name": ""},
            {"full_name": "\x00"},
            {"born_on": "yesterday"},
            {"residence_country": "Switzerland"},
            {"documents": []},
            {"documents": [document(sha256="x")]},
            {"documents": [document(size_bytes=0)]},
            {"documents": [document(kind="poem")]},
            {"documents": [document(expires_on="31.12.2030")]},
            {"documents": [document(), document("b.pdf", expires_on="2001-01-01")]},
            {"documents": [document(), document()]},
            {"extra": 1},
        ],
    )
    async def test_refuses_bad_input_and_stores_nothing(
        self, bank: Bank, fields: dict[str, Any]
    ) -> None:
        headers = {"Idempotency-Key": "bad"}
        answer = await bank.send("POST", APPLICATIONS, body=application() | fields, headers=headers)
        assert answer.status_code == 422, answer.text
        assert (await bank.get(APPLICATIONS)).json()["items"] == []

    async def test_needs_a_key(self, bank: Bank) -> None:
        answer = await bank.send("POST", APPLICATIONS, body=application())
        assert code_of(answer) == "idempotency_key_missing"


class TestDowngrade:
    async def test_is_by_an_owner_with_a_reason(self, bank: Bank) -> None:
        rita = await bank.person("rita", Role.APPROVER)
        olive = await bank.person("olive", Role.OWNER)
        path = f"/v1/kyc/users/{bank.customer.id}"
        body = {"level": 1, "reason": "It was another person's."}
        none = await bank.send("POST", f"{path}/downgrades", person=olive, body=body)
        assert code_of(none) == "kyc_application_state"
        application_id = await applied(bank, level=3)
        await decide(bank, application_id, "approvals", rita)
        lowered = await bank.send("POST", f"{path}/downgrades", person=olive, body=body)
        assert (lowered.status_code, lowered.json()["level"]) == (200, 1)
        again = await bank.send("POST", f"{path}/downgrades", person=olive, body=body)
        assert code_of(again) == "kyc_application_state"
        found = (await bank.get(path, rita)).json()
        assert (found["level"], found["application_id"]) == (1, application_id)
        causes = [(line["level_after"], line["cause"]) for line in found["history"]]
        assert causes == [(3, "approved"), (1, "downgraded")]
        unknown = await bank.get(f"/v1/kyc/users/{new_id('usr')}", rita)
        assert unknown.status_code == 404

    async def test_of_ones_own_level_is_refused(self, bank: Bank) -> None:
        rita = await bank.person("rita", Role.APPROVER)
        olive = await bank.person("olive", Role.OWNER)
        application_id = await applied(bank, person=olive, level=2)
        await decide(bank, application_id, "approvals", rita)
        path = f"/v1/kyc/users/{olive.id}/downgrades"
        answer = await bank.send("POST", path, person=olive, body={"level": 0, "reason": "x"})
        assert code_of(answer) == "own_request"


class TestLimits:
    async def test_are_versions_that_owners_write(self, bank: Bank) -> None:
        olive = await bank.person("olive", Role.OWNER)
        assert (await bank.get("/v1/limits", olive)).json()["document"] == UNLIMITED
        await put_limits(bank, row(0, count=1))
        await put_limits(bank, row(0, count=2))
        now = (await bank.get("/v1/limits", olive)).json()
        assert (now["version"], now["created_by"]) == (3, olive.id)
        assert now["document"]["limits"] == [row(0, count=2)]
        first = (await bank.get("/v1/limits/versions?limit=2", olive)).json()
        rest = (await bank.get(f"/v1/limits/versions?cursor={first['next_cursor']}", olive)).json()
        assert [v["version"] for v in first["items"] + rest["items"]] == [3, 2, 1]
        assert await bank.broken_promise() is None

    async def test_refuse_what_contradicts_itself(self, bank: Bank) -> None:
        olive = await bank.person("olive", Role.OWNER)
        for rows, code in (
            ([row(0)], "validation_failed"),
            ([row(0, asset="*", amount_minor="1")], "validation_failed"),
            ([row(0, count=1), row(0, count=2)], "validation_failed"),
            ([row(0, asset="DOGE", count=1)], "invalid_limits"),
        ):
            body = {"limits": rows}
            answer = await bank.send("PUT", "/v1/limits", person=olive, body=body)
            assert (answer.status_code, code_of(answer)) == (422, code)
        assert (await bank.get("/v1/limits", olive)).json()["version"] == 1

    async def test_stop_payouts_and_say_what_remains(self, bank: Bank) -> None:
        daily, monthly = row(1, amount_minor="250"), row(1, window="30d", count=9)
        await put_limits(bank, row(0, count=0), daily, monthly)
        none = await bank.pay("100")
        assert (none.status_code, code_of(none)) == (409, "limit_exceeded")
        assert "leaves 0 of 0 operations; never enough" in none.json()["detail"]
        rita = await bank.person("rita", Role.APPROVER)
        await decide(bank, await applied(bank), "approvals", rita)
        at = bank.clock.now()
        assert (await bank.pay("200")).status_code == 202
        refused = await bank.pay("100", key="refused")
        assert "leaves 0.00000000000000005 of" in refused.json()["detail"]
        assert (await bank.pay("100", key="refused")).json()["detail"] == refused.json()["detail"]
        day, month = (await bank.get("/v1/kyc")).json()["limits"]
        assert day["amount"] == {"cap": "250", "used": "200", "remaining": "50"}
        assert month["count"] == {"cap": 9, "used": 1, "remaining": 8}
        renews = datetime.fromisoformat(day["renews_at"]) - at
        assert timedelta(days=1) <= renews < timedelta(days=1, minutes=5)

    async def test_are_restored_by_a_cancellation(self, bank: Bank) -> None:
        await put_limits(bank, row(0, count=1))
        paid = (await bank.pay("5000")).json()
        assert code_of(await bank.pay("5000")) == "limit_exceeded"
        await bank.send("POST", f"/v1/payouts/{paid['id']}/cancellation")
        assert (await bank.get("/v1/kyc")).json()["limits"][0]["count"]["remaining"] == 1
        assert (await bank.pay("5000")).status_code == 202
