"""Everything that must be refused, and that a refusal moves no money."""

from typing import Any

import httpx
import pytest

from domain.money import UINT256_MAX
from models.identity import Role, Scope
from tests.support.bank import (
    DAILY_LIMIT_MINOR,
    DESTINATION,
    FEE_MINOR,
    FUNDS_MINOR,
    HOT_WALLET,
    ONE_APPROVER_MAX_MINOR,
    PAYOUT_MAX_MINOR,
    TOKEN,
    Bank,
    code_of,
    fund,
)
from tests.support.identity import new_person

ZERO_ADDRESS = "0x" + "0" * 40
WRONG_CHECKSUM = DESTINATION[:-1] + "C"
PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "code", "errors"}


async def assert_refused(bank: Bank, answer: httpx.Response, status: int, code: str) -> None:
    """The answer is a clear problem, and nothing is frozen."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == PROBLEM_MEMBERS
    assert (answer.status_code, problem["code"]) == (status, code)
    assert problem["status"] == status
    assert problem["detail"]
    assert await bank.balances() == (FUNDS_MINOR, 0)
    assert await bank.statement_kinds() == ["deposit"]


class TestAmount:
    @pytest.mark.parametrize(
        ("amount", "code"),
        [
            ("0", "invalid_amount"),
            ("000", "invalid_amount"),
            (str(UINT256_MAX + 1), "invalid_amount"),
            ("9" * 78, "invalid_amount"),
            ("4", "amount_out_of_range"),
            (str(PAYOUT_MAX_MINOR + 1), "amount_out_of_range"),
            (str(UINT256_MAX), "amount_out_of_range"),
            ("-1", "validation_failed"),
            ("+1", "validation_failed"),
            ("1.5", "validation_failed"),
            ("1e3", "validation_failed"),
            ("0x10", "validation_failed"),
            ("", "validation_failed"),
            (" 1", "validation_failed"),
            ("1\n", "validation_failed"),
            ("١٢٣", "validation_failed"),
            ("ten", "validation_failed"),
            ("9" * 79, "validation_failed"),
            ("9" * 10_000, "validation_failed"),
            (100, "validation_failed"),
            (1.5, "validation_failed"),
            (-1, "validation_failed"),
            (True, "validation_failed"),
            (None, "validation_failed"),
            ([], "validation_failed"),
            ({}, "validation_failed"),
        ],
    )
    async def test_is_refused_unless_it_is_a_positive_whole_number_in_a_string(
        self, bank: Bank, amount: Any, code: str
    ) -> None:
        await assert_refused(bank, await bank.pay(amount), 422, code)

    async def test_is_refused_above_the_available_balance(self, bank: Bank) -> None:
        answer = await bank.pay(str(FUNDS_MINOR))

        await assert_refused(bank, answer, 409, "insufficient_available_balance")
        assert [p["status"] for p in await bank.payouts()] == ["refused"]

    async def test_is_refused_above_the_limit_of_the_day(self, bank: Bank) -> None:
        answer = await bank.pay(str(DAILY_LIMIT_MINOR + 1))

        await assert_refused(bank, answer, 409, "limit_exceeded")

    async def test_counts_against_the_limit_with_what_went_before(self, bank: Bank) -> None:
        await fund(bank.database, bank.customer.id, bank.clock)
        first = await bank.pay(str(DAILY_LIMIT_MINOR - 50))
        over = await bank.pay("51")
        within = await bank.pay("50")

        assert [first.status_code, within.status_code] == [202, 202]
        assert code_of(over) == "limit_exceeded"

    async def test_must_leave_room_for_the_fee(self, bank: Bank) -> None:
        rich = await bank.person("rich")
        await fund(bank.database, rich.id, bank.clock, amount_minor=1_000)

        short = await bank.pay(str(1_000 - FEE_MINOR + 1), person=rich)
        exact = await bank.pay(str(1_000 - FEE_MINOR), person=rich)

        assert code_of(short) == "insufficient_available_balance"
        assert exact.status_code == 202
        assert await bank.balances(rich) == (0, 1_000)


class TestAsset:
    @pytest.mark.parametrize(
        ("asset", "code"),
        [
            ("XXX", "unknown_asset"),
            ("eth", "unknown_asset"),
            ("", "validation_failed"),
            ("ETH; DROP", "validation_failed"),
            ("A" * 33, "validation_failed"),
            (None, "validation_failed"),
            (7, "validation_failed"),
        ],
    )
    async def test_is_refused_unless_the_catalog_has_it(
        self, bank: Bank, asset: Any, code: str
    ) -> None:
        await assert_refused(bank, await bank.pay(asset=asset), 422, code)


class TestDestination:
    @pytest.mark.parametrize(
        ("destination", "code"),
        [
            (ZERO_ADDRESS, "invalid_address"),
            (WRONG_CHECKSUM, "invalid_address"),
            (DESTINATION[2:], "invalid_address"),
            (DESTINATION[:-1], "invalid_address"),
            (DESTINATION + "00", "invalid_address"),
            (DESTINATION.replace("0x", "0X"), "invalid_address"),
            (f" {DESTINATION}", "invalid_address"),
            ("0x" + "g" * 40, "invalid_address"),
            ("vitalik.eth", "invalid_address"),
            ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "invalid_address"),
            (TOKEN, "forbidden_destination"),
            (TOKEN.lower(), "forbidden_destination"),
            (HOT_WALLET, "forbidden_destination"),
            (HOT_WALLET.lower(), "forbidden_destination"),
            ("", "validation_failed"),
            ("0x" + "0" * 200, "validation_failed"),
            (None, "validation_failed"),
        ],
    )
    async def test_is_refused_when_money_could_not_come_back_from_it(
        self, bank: Bank, destination: Any, code: str
    ) -> None:
        await assert_refused(bank, await bank.pay(destination=destination), 422, code)

    async def test_may_be_written_without_checksum(self, bank: Bank) -> None:
        answer = await bank.pay(destination=DESTINATION.lower())

        assert answer.json()["destination"] == DESTINATION


class TestIdempotencyKey:
    async def test_is_required(self, bank: Bank) -> None:
        answer = await bank.pay(headers={"Idempotency-Key": ""})

        await assert_refused(bank, answer, 400, "idempotency_key_missing")

    @pytest.mark.parametrize("key", ["x" * 256, "tab\there", "ü"])
    async def test_is_refused_when_it_is_not_short_printable_text(
        self, bank: Bank, key: str
    ) -> None:
        sent = bank.customer.headers | {"TOTP-Code": bank.customer.code()}
        raw = [(name.encode(), value.encode()) for name, value in sent.items()]
        answer = await bank.client.post(
            "/v1/payouts",
            json={"asset": "ETH", "amount": "100", "destination": DESTINATION},
            headers=[*raw, (b"Idempotency-Key", key.encode())],
        )

        await assert_refused(bank, answer, 400, "idempotency_key_invalid")

    async def test_is_refused_with_another_body(self, bank: Bank) -> None:
        first = await bank.pay("100", key="k")
        other = await bank.pay("101", key="k")

        assert first.status_code == 202
        assert (other.status_code, code_of(other)) == (422, "idempotency_key_reused")
        assert await bank.balances() == (FUNDS_MINOR - 100 - FEE_MINOR, 100 + FEE_MINOR)

    async def test_gets_the_same_answer_with_the_same_body(self, bank: Bank) -> None:
        first, again = [await bank.pay("100", key="k") for _ in range(2)]

        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json() == again.json()
        assert first.headers["Location"] == again.headers["Location"]
        assert len(await bank.payouts()) == 1

    async def test_gets_the_same_refusal_after_money_arrived(self, bank: Bank) -> None:
        amount = str(ONE_APPROVER_MAX_MINOR)
        poor = await bank.person("poor")
        first = await bank.pay(amount, key="k", person=poor)
        await fund(bank.database, poor.id, bank.clock)
        again = await bank.pay(amount, key="k", person=poor)

        assert code_of(first) == code_of(again) == "insufficient_available_balance"
        assert first.json() == again.json()
        assert await bank.balances(poor) == (FUNDS_MINOR, 0)

    async def test_belongs_to_one_caller(self, bank: Bank) -> None:
        other = await bank.person("other")
        await fund(bank.database, other.id, bank.clock)

        answers = [await bank.pay(key="k", person=who) for who in (bank.customer, other)]

        assert [a.status_code for a in answers] == [202, 202]
        assert answers[0].json()["id"] != answers[1].json()["id"]


class TestSecondFactor:
    async def test_is_required(self, bank: Bank) -> None:
        answer = await bank.pay(headers={"TOTP-Code": ""})

        await assert_refused(bank, answer, 403, "second_factor_required")

    async def test_is_refused_when_wrong(self, bank: Bank) -> None:
        answer = await bank.pay(headers={"TOTP-Code": bank.customer.wrong_code()})

        await assert_refused(bank, answer, 403, "second_factor_invalid")

    async def test_is_refused_when_old(self, bank: Bank) -> None:
        answer = await bank.pay(headers={"TOTP-Code": bank.customer.code(steps=-3)})

        await assert_refused(bank, answer, 403, "second_factor_invalid")

    async def test_is_refused_when_malformed(self, bank: Bank) -> None:
        answer = await bank.pay(headers={"TOTP-Code": "12345x"})

        await assert_refused(bank, answer, 422, "validation_failed")

    async def test_is_good_for_one_payout(self, bank: Bank) -> None:
        bank.customer.clock.advance(bank.state.settings.step_up_lifetime)
        code = bank.customer.code()
        first = await bank.pay(headers={"TOTP-Code": code})
        replayed = await bank.pay(headers={"TOTP-Code": code})

        assert first.status_code == 202
        assert (replayed.status_code, code_of(replayed)) == (403, "second_factor_invalid")
        assert len(await bank.payouts()) == 1

    async def test_must_be_enabled(self, bank: Bank) -> None:
        bare = await new_person(bank.identity, bank.clock, name="bare")
        answer = await bank.pay(person=bare, headers={"TOTP-Code": "123456"})

        assert (answer.status_code, code_of(answer)) == (403, "second_factor_not_enabled")

    async def test_is_not_used_up_by_a_request_that_is_refused_anyway(self, bank: Bank) -> None:
        bank.clock.advance(bank.state.settings.step_up_lifetime)
        code = bank.customer.code()
        refused = await bank.pay("0", headers={"TOTP-Code": code})
        paid = await bank.pay(headers={"TOTP-Code": code})

        assert (refused.status_code, paid.status_code) == (422, 202)


class TestBody:
    @pytest.mark.parametrize(
        "extra", [{"fee": "0"}, {"user_id": "usr_1"}, {"status": "settled"}, {"": ""}]
    )
    async def test_with_an_unknown_field_is_refused(
        self, bank: Bank, extra: dict[str, Any]
    ) -> None:
        await assert_refused(bank, await bank.pay(**extra), 422, "validation_failed")

    @pytest.mark.parametrize("note", ["x" * 201, "nul \x00", "half \ud800", 5])
    async def test_with_a_note_that_cannot_be_kept_is_refused(self, bank: Bank, note: Any) -> None:
        await assert_refused(bank, await bank.pay(note=note), 422, "validation_failed")

    @pytest.mark.parametrize(
        ("content", "media_type", "refusal"),
        [
            (b"{", "application/json", (400, "malformed_json")),
            (b'{"asset": "\xff"}', "application/json", (400, "malformed_json")),
            (b"asset=ETH", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
            (b"[]", "application/json", (422, "validation_failed")),
            (b"null", "application/json", (422, "validation_failed")),
            (b"[" * 100_000, "application/json", (400, "malformed_json")),
            (b'"' + b"x" * 2_000_000 + b'"', "application/json", (413, "body_too_large")),
        ],
    )
    async def test_that_is_not_one_is_refused(
        self, bank: Bank, content: bytes, media_type: str, refusal: tuple[int, str]
    ) -> None:
        headers = bank.customer.headers | {
            "TOTP-Code": bank.customer.code(),
            "Idempotency-Key": "k",
            "Content-Type": media_type,
        }
        answer = await bank.client.post("/v1/payouts", content=content, headers=headers)

        await assert_refused(bank, answer, *refusal)


class TestCaller:
    async def test_without_a_token_is_refused(self, bank: Bank) -> None:
        answer = await bank.pay(headers={"Authorization": ""})

        await assert_refused(bank, answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    async def test_with_a_key_that_only_reads_is_refused(self, bank: Bank) -> None:
        created = await bank.send(
            "POST", "/v1/api-keys", body={"name": "reader", "scopes": [Scope.READ]}
        )
        token = created.json()["token"]
        answer = await bank.pay(headers={"Authorization": f"Bearer {token}"})

        await assert_refused(bank, answer, 403, "scope_missing")

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", ""),
            ("GET", "/explain"),
            ("POST", "/cancellation"),
        ],
    )
    async def test_does_not_learn_of_somebody_elses_payout(
        self, bank: Bank, method: str, path: str
    ) -> None:
        payout = (await bank.pay("5000")).json()
        stranger = await bank.person("stranger")

        theirs = await bank.send(method, f"/v1/payouts/{payout['id']}{path}", person=stranger)
        missing = await bank.send(method, f"/v1/payouts/pay_{'0' * 26}{path}", person=stranger)

        assert (theirs.status_code, code_of(theirs)) == (404, "payout_not_found")
        assert theirs.json() | {"instance": ""} == missing.json() | {"instance": ""}
        assert (await bank.get("/v1/payouts", stranger)).json()["items"] == []
        assert await bank.balances() == (FUNDS_MINOR - 5_000 - FEE_MINOR, 5_000 + FEE_MINOR)

    async def test_without_the_role_sees_only_their_own_list(self, bank: Bank) -> None:
        await bank.pay()
        auditor = await bank.person("auditor", Role.AUDITOR)

        refused = await bank.get("/v1/payouts?scope=all")
        everything = await bank.get("/v1/payouts?scope=all", auditor)

        assert code_of(refused) == "role_missing"
        assert len(everything.json()["items"]) == 1
