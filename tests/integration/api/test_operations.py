"""Readiness, metrics, and the codec that lets the Temporal UI show payloads."""

from typing import Any

import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload
from temporalio.testing import WorkflowEnvironment

from models.identity import Role
from tests.support.bank import DESTINATION, Bank, code_of, served

GARBAGE: list[dict[str, Any]] = [
    {"metadata": {"encoding": "not base64!"}, "data": ""},
    {"metadata": {}, "data": "not base64!"},
    {"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA=="}, "data": "AQL//w=="},
    {"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA=="}, "data": "AAAA"},
    {
        "metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA==", "key-id": "bm9uZQ=="},
        "data": "AAAA",
    },
]


async def sealed_payload(bank: Bank, temporal: WorkflowEnvironment) -> dict[str, Any]:
    """Return the first payload of a payout's history, as the Temporal UI would send it."""
    payout = (await bank.pay("5000")).json()
    handle = temporal.client.get_workflow_handle(payout["workflow_id"])
    history = await handle.fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    return json_format.MessageToDict(started.input.payloads[0])


class TestCodec:
    async def test_is_closed_to_who_did_not_log_in(
        self, bank: Bank, temporal: WorkflowEnvironment
    ) -> None:
        body = {"payloads": [await sealed_payload(bank, temporal)]}
        answer = await bank.client.post("/v1/codec/decode", json=body)

        assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
        assert DESTINATION not in answer.text

    async def test_is_closed_to_who_has_no_role_for_it(
        self, bank: Bank, temporal: WorkflowEnvironment
    ) -> None:
        body = {"payloads": [await sealed_payload(bank, temporal)]}
        ann = await bank.person("ann", Role.APPROVER)
        for caller in (bank.customer, ann):
            answer = await bank.client.post("/v1/codec/decode", json=body, headers=caller.headers)

            assert (answer.status_code, code_of(answer)) == (403, "role_missing")

    async def test_opens_what_the_history_keeps_sealed(
        self, bank: Bank, temporal: WorkflowEnvironment
    ) -> None:
        sealed = await sealed_payload(bank, temporal)
        auditor = await bank.person("auditor", Role.AUDITOR)
        answer = await bank.client.post(
            "/v1/codec/decode", json={"payloads": [sealed]}, headers=auditor.headers
        )

        (opened,) = answer.json()["payloads"]
        payload = json_format.ParseDict(opened, Payload())
        assert DESTINATION not in str(sealed)
        assert DESTINATION.encode() in payload.data

    async def test_is_open_where_the_settings_say_so(
        self, bank: Bank, temporal: WorkflowEnvironment
    ) -> None:
        body = {"payloads": [await sealed_payload(bank, temporal)]}
        async with served(bank.state, codec_anonymous=True) as (_, client):
            answer = await client.post("/v1/codec/decode", json=body)

        assert answer.status_code == 200

    @pytest.mark.parametrize("payload", GARBAGE)
    async def test_refuses_what_it_cannot_open(self, bank: Bank, payload: dict[str, Any]) -> None:
        auditor = await bank.person("auditor", Role.AUDITOR)
        answer = await bank.client.post(
            "/v1/codec/decode", json={"payloads": [payload]}, headers=auditor.headers
        )

        assert answer.status_code == 422
        assert code_of(answer) == "validation_failed"


class TestReadiness:
    async def test_names_what_answers(self, bank: Bank) -> None:
        answer = await bank.client.get("/ready")

        assert answer.status_code == 200
        assert answer.json() == {
            "status": "ready",
            "database": "ok",
            "workflow_engine": "ok",
            "processes": {},
        }


class TestMetrics:
    async def test_count_payouts_and_requests(self, bank: Bank) -> None:
        await bank.pay("100")
        await bank.pay("5000")
        answer = await bank.client.get("/metrics")

        assert answer.headers["Content-Type"].startswith("text/plain")
        assert 'strongroom_payouts{status="ready"} 1.0' in answer.text
        assert 'strongroom_payouts{status="awaiting_approval"} 1.0' in answer.text
        assert 'route="/v1/payouts"' in answer.text or "/v1/payouts" in answer.text
        assert DESTINATION not in answer.text
