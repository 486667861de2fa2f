import json
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import Field

from api.app import create_app
from api.dependencies import IdempotencyKey
from api.middleware import BODY_BYTES_MAX
from api.problems import problem_responses
from api.schemas.base import StrictModel
from domain.errors import (
    LoginThrottledError,
    OutcomeUnknownError,
    PayoutStateError,
    SecondFactorLockedError,
    StrongroomError,
)
from tests.support.api import api_settings

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "errors"}


class Inner(StrictModel):
    note: str


class Outer(StrictModel):
    amount: Annotated[int, Field(ge=1, strict=True)] = 1
    inner: Inner | None = None
    notes: list[str] = Field(default=[])


probes = APIRouter()


@probes.post("/v1/probe")
async def probe(body: Outer) -> dict[str, int]:
    return {"amount": body.amount}


@probes.post("/v1/keyed")
async def keyed(key: IdempotencyKey) -> dict[str, str]:
    return {"key": key}


@probes.post("/v1/crash")
async def crash() -> None:
    msg = "the password is swordfish"
    raise RuntimeError(msg)


@probes.post("/v1/fail/{code}")
async def fail(code: str) -> None:
    raise {
        "outcome_unknown": OutcomeUnknownError(),
        "payout_state": PayoutStateError("It is settled."),
        "second_factor_locked": SecondFactorLockedError(retry_after_s=77),
        "login_throttled": LoginThrottledError(retry_after_s=8),
    }[code]


@pytest.fixture
async def app() -> AsyncIterator[FastAPI]:
    created = create_app(api_settings())
    created.include_router(probes)
    async with created.router.lifespan_context(created):
        yield created


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    problem: dict[str, object] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(problem) == MEMBERS
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["type"] == f"/problems/{code}"
    assert problem["instance"] == answer.request.url.path
    return problem


async def post(client: httpx.AsyncClient, content: bytes, **headers: str) -> httpx.Response:
    given = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return await client.post("/v1/probe", content=content, headers=given)


class TestHttpErrors:
    async def test_answer_404_for_an_unknown_path(self, client: httpx.AsyncClient) -> None:
        assert_problem(await client.get("/v1/nothing"), 404, "not_found")

    async def test_do_not_redirect_a_trailing_slash(self, client: httpx.AsyncClient) -> None:
        assert_problem(await client.get("/v1/users/"), 404, "not_found")

    async def test_answer_405_with_the_methods_that_exist(self, client: httpx.AsyncClient) -> None:
        answer = await client.patch("/v1/probe")

        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"

    async def test_answer_405_with_the_methods_of_every_route_at_the_path(
        self, client: httpx.AsyncClient
    ) -> None:
        answer = await client.patch("/v1/sessions")

        assert answer.headers["allow"] == "DELETE, GET, POST"

    async def test_answer_415_when_the_body_is_not_announced_as_json(
        self, client: httpx.AsyncClient
    ) -> None:
        answer = await post(client, b'{"amount": 1}', content_type="text/plain")

        assert_problem(answer, 415, "unsupported_media_type")

    async def test_answer_413_for_an_announced_large_body(self, client: httpx.AsyncClient) -> None:
        answer = await post(client, b" " * (BODY_BYTES_MAX + 1))

        assert_problem(answer, 413, "body_too_large")
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_answer_413_for_a_large_body_of_unknown_length(
        self, client: httpx.AsyncClient
    ) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * 64 * 1024

        answer = await client.post(
            "/v1/probe", content=chunks(), headers={"content-type": "application/json"}
        )

        assert "content-length" not in answer.request.headers
        assert_problem(answer, 413, "body_too_large")

    async def test_read_a_body_of_exactly_the_limit(self, client: httpx.AsyncClient) -> None:
        body = b'{"amount": 3}'

        answer = await post(client, body + b" " * (BODY_BYTES_MAX - len(body)))

        assert (answer.status_code, answer.json()) == (200, {"amount": 3})

    @pytest.mark.parametrize(
        "body",
        [b"{", b'{"amount": }', b"\xff\xfe", b'{"amount": "\xff"}', b"[" * 100_000],
    )
    async def test_answer_400_for_what_is_not_json(
        self, client: httpx.AsyncClient, body: bytes
    ) -> None:
        assert_problem(await post(client, body), 400, "malformed_json")


class TestValidationErrors:
    async def fields(self, client: httpx.AsyncClient, body: object) -> dict[str, str]:
        problem = assert_problem(
            await post(client, json.dumps(body).encode()), 422, "validation_failed"
        )
        errors = problem["errors"]
        assert isinstance(errors, list)
        return {entry["field"]: entry["message"] for entry in errors}

    async def test_refuse_unknown_fields(self, client: httpx.AsyncClient) -> None:
        assert set(await self.fields(client, {"amout": 1})) == {"amout"}

    async def test_name_nested_fields(self, client: httpx.AsyncClient) -> None:
        assert set(await self.fields(client, {"inner": {"note": 1}, "notes": ["a", 2]})) == {
            "inner.note",
            "notes.1",
        }

    @pytest.mark.parametrize("amount", ["1", 1.0, True, 0])
    async def test_do_not_guess_numbers(self, client: httpx.AsyncClient, amount: object) -> None:
        assert set(await self.fields(client, {"amount": amount})) == {"amount"}

    @pytest.mark.parametrize(
        "body", [{"inner": {"note": "a\x00b"}}, {"notes": ["\x00"]}, {"notes": [["\x00"]]}]
    )
    async def test_refuse_nul_characters(self, client: httpx.AsyncClient, body: object) -> None:
        messages = await self.fields(client, body)

        assert "NUL characters and unpaired surrogates are not allowed." in messages.values()

    async def test_refuse_half_a_surrogate_pair(self, client: httpx.AsyncClient) -> None:
        answer = await post(client, b'{"inner": {"note": "\\ud800"}}')

        assert_problem(answer, 422, "validation_failed")

    async def test_never_repeat_what_was_sent(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(
            "/v1/sessions",
            json={
                "email": "swordfish",
                "password": {"swordfish": "swordfish"},
                "extra": "swordfish",
            },
        )

        assert_problem(answer, 422, "validation_failed")
        assert "swordfish" not in answer.text

    async def test_name_the_body_when_there_is_none(self, client: httpx.AsyncClient) -> None:
        problem = assert_problem(await client.post("/v1/probe"), 422, "validation_failed")

        assert problem["errors"] == [{"field": "body", "message": "Field required"}]

    async def test_list_twenty_fields_at_most(self, client: httpx.AsyncClient) -> None:
        assert len(await self.fields(client, {f"field{n}": n for n in range(200)})) == 20


class TestIdempotencyKey:
    async def test_is_required(self, client: httpx.AsyncClient) -> None:
        assert_problem(await client.post("/v1/keyed"), 400, "idempotency_key_missing")

    @pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "tab\there"])
    async def test_is_short_printable_ascii(self, client: httpx.AsyncClient, key: str) -> None:
        answer = await client.post("/v1/keyed", headers={b"Idempotency-Key": key.encode("latin-1")})

        assert_problem(answer, 400, "idempotency_key_invalid")

    @pytest.mark.parametrize("key", ["1", "x" * 255, "order 7 ~!"])
    async def test_reaches_the_endpoint(self, client: httpx.AsyncClient, key: str) -> None:
        answer = await client.post("/v1/keyed", headers={"Idempotency-Key": key})

        assert answer.json() == {"key": key}


class TestExpectedErrors:
    async def test_carry_their_detail(self, client: httpx.AsyncClient) -> None:
        problem = assert_problem(await client.post("/v1/fail/payout_state"), 409, "payout_state")

        assert problem["detail"] == "It is settled."

    async def test_say_when_to_come_back(self, client: httpx.AsyncClient) -> None:
        codes = ("second_factor_locked", "login_throttled", "outcome_unknown")
        answers = [await client.post(f"/v1/fail/{code}") for code in codes]

        assert [a.status_code for a in answers] == [429, 429, 503]
        assert [a.headers["retry-after"] for a in answers] == ["77", "8", "2"]

    async def test_ask_for_a_bearer_token(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/users/me")

        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"

    async def test_answer_503_when_the_database_is_away(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/users/me", headers={"Authorization": "Bearer srs_x"})

        assert_problem(answer, 503, "database_unavailable")
        assert answer.headers["retry-after"] == "2"


class TestUnexpectedErrors:
    async def test_tell_nothing_but_a_request_id(
        self, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = await client.post("/v1/crash", headers={"X-Request-Id": "trace-7"})

        assert_problem(answer, 500, "internal_error")
        assert "swordfish" not in answer.text
        assert answer.headers["x-request-id"] == "trace-7"
        assert "unexpected error in request trace-7" in caplog.text


class TestHeaders:
    async def test_protect_every_answer(self, client: httpx.AsyncClient) -> None:
        for path in ("/v1/probe", "/v1/nothing", "/v1/crash"):
            answer = await client.post(path, json={})

            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
            assert answer.headers["cache-control"] == "no-store"

    async def test_allow_no_other_origin(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/probe", json={}, headers={"Origin": "https://evil.example"})

        assert "access-control-allow-origin" not in answer.headers

    @pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb"])
    async def test_replace_a_harmful_request_id(
        self, client: httpx.AsyncClient, given: str
    ) -> None:
        answer = await client.get("/v1/nothing", headers={"X-Request-Id": given})

        assert answer.headers["x-request-id"].startswith("req_")


class TestProblemResponses:
    def test_group_errors_by_status_with_one_example_each(self) -> None:
        responses = problem_responses(LoginThrottledError, SecondFactorLockedError)

        examples = responses[429]["content"]["application/problem+json"]["examples"]
        assert set(examples) == {"login_throttled", "second_factor_locked"}
        assert set(responses) == {429, 500, 503}

    def test_cover_what_the_whole_api_answers(self) -> None:
        assert StrongroomError.http_status in problem_responses()
