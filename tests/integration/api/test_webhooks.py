"""Webhooks over HTTP: endpoints, and a payout that reaches a receiver by real workflows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import worker
from domain.ids import new_id
from domain.webhooks import DeliveryStatus
from domain.workflow_ids import WALLET_QUEUE, WEBHOOK_DISPATCHER_ID
from infra.settings import WorkerSettings
from tests.support.bank import Bank, code_of
from tests.support.flows import until
from tests.support.receiver import Receiver, receiving
from workflows.webhook_dispatcher import WebhookDispatcherWorkflow

PATH = "/v1/webhook-endpoints"
PUBLIC = "https://shop.example/hook"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as opened:
        yield opened


async def create(bank: Bank, url: str = PUBLIC, **fields: Any) -> httpx.Response:
    return await bank.send("POST", PATH, body={"url": url} | fields)


@asynccontextmanager
async def serving_gateways(bank: Bank) -> AsyncIterator[None]:
    """Serve what the bank's own worker does not: the queue ``gateways``."""
    api = bank.state.settings
    settings = WorkerSettings(
        database_url=SecretStr("unused"),
        temporal_address="unused",
        codec_keys=SecretStr("unused"),
        chain_rpc_urls=SecretStr("{}"),
        webhook_keys=api.webhook_keys,
        webhook_loopback=True,
    )
    process = worker.Process(bank.state.temporal, bank.database)
    serving = worker.gateways_worker(process, settings)
    running = asyncio.create_task(serving.run())
    handle = await bank.state.temporal.start_workflow(
        WebhookDispatcherWorkflow.run, id=WEBHOOK_DISPATCHER_ID, task_queue=WALLET_QUEUE
    )
    try:
        yield
    finally:
        await handle.terminate("the test is over")
        await serving.shutdown()
        await running


class TestEndpoint:
    async def test_shows_its_secret_once(self, bank: Bank) -> None:
        created = await create(bank, types=["payout.*"], description="shop")
        assert created.status_code == 201
        issued = created.json()
        path = f"{PATH}/{issued['endpoint']['id']}"
        shown = await bank.get(path)
        listed = await bank.get(PATH)

        assert issued["secret"].startswith("whsec_")
        assert shown.json() == issued["endpoint"] == listed.json()["items"][0]
        assert shown.json()["types"] == ["payout.*"]
        assert issued["secret"] not in shown.text + listed.text

    async def test_is_changed_rotated_and_removed(self, bank: Bank) -> None:
        issued = (await create(bank)).json()
        path = f"{PATH}/{issued['endpoint']['id']}"
        changed = await bank.send(
            "PATCH", path, body={"types": ["deposit.credited"], "is_enabled": False}
        )
        assert changed.json()["types"] == ["deposit.credited"]
        assert changed.json()["disabled_reason"] == "by_user"
        assert code_of(await bank.send("POST", f"{path}/pings")) == "webhook_endpoint_disabled"
        enabled = await bank.send("PATCH", path, body={"is_enabled": True})
        assert (enabled.json()["is_enabled"], enabled.json()["types"]) == (
            True,
            ["deposit.credited"],
        )
        rotated = await bank.send("POST", f"{path}/secret-rotations", body={"overlap_s": 60})
        assert rotated.status_code == 201
        assert rotated.json()["secret"] != issued["secret"]
        assert rotated.json()["endpoint"]["previous_secret_until"] is not None
        assert (await bank.send("DELETE", path)).status_code == 204
        assert (await bank.get(path)).status_code == 404
        assert (await bank.get(PATH)).json()["items"] == []

    @pytest.mark.parametrize(
        ("url", "fields", "code"),
        [
            ("http://shop.example/", {}, "invalid_webhook_url"),
            ("https://127.0.0.1/", {}, "invalid_webhook_url"),
            ("https://169.254.169.254/latest", {}, "invalid_webhook_url"),
            ("https://user:secret@shop.example/", {}, "invalid_webhook_url"),
            ("", {}, "validation_failed"),
            ("https://shop.example/\x00", {}, "validation_failed"),
            (PUBLIC, {"types": ["payout.vanished"]}, "unknown_event_type"),
            (PUBLIC, {"types": []}, "validation_failed"),
            (PUBLIC, {"secret": "whsec_mine"}, "validation_failed"),
        ],
    )
    async def test_is_refused_where_it_is_wrong(
        self, bank: Bank, url: str, fields: dict[str, Any], code: str
    ) -> None:
        refused = await create(bank, url, **fields)

        assert refused.status_code == 422
        assert code_of(refused) == code

    async def test_needs_a_second_factor_and_so_does_a_new_secret(self, bank: Bank) -> None:
        no_code = {"TOTP-Code": ""}
        refused = await bank.send("POST", PATH, body={"url": PUBLIC}, headers=no_code)
        assert code_of(refused) == "second_factor_required"
        path = f"{PATH}/{(await create(bank)).json()['endpoint']['id']}"
        refused = await bank.send("POST", f"{path}/secret-rotations", body={}, headers=no_code)
        assert code_of(refused) == "second_factor_required"

    async def test_is_one_of_ten(self, bank: Bank) -> None:
        for _ in range(10):
            assert (await create(bank)).status_code == 201
        assert code_of(await create(bank)) == "webhook_endpoint_limit"

    async def test_of_somebody_else_is_not_there(self, bank: Bank) -> None:
        other = await bank.person("other")
        path = f"{PATH}/{(await create(bank)).json()['endpoint']['id']}"
        ping = (await bank.send("POST", f"{path}/pings")).json()["id"]
        for method, tail in (
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/secret-rotations"),
            ("POST", "/pings"),
            ("GET", "/deliveries"),
            ("GET", f"/deliveries/{ping}"),
            ("POST", f"/deliveries/{ping}/redeliveries"),
        ):
            body: dict[str, Any] | None = {} if method in {"PATCH", "POST"} else None
            refused = await bank.send(method, path + tail, person=other, body=body)
            assert refused.status_code == 404, (method, tail)
            assert code_of(refused) == "webhook_endpoint_not_found"


class TestDelivery:
    async def test_of_a_payout_reaches_its_receiver(self, bank: Bank, receiver: Receiver) -> None:
        changes = {"webhook_loopback": True}
        settings = bank.state.settings.model_copy(update=changes)
        async with bank.without(settings=settings) as client, serving_gateways(bank):
            bank.client = client
            issued = (await create(bank, receiver.url, types=["payout.*"])).json()
            path = f"{PATH}/{issued['endpoint']['id']}"
            payout_id = (await bank.pay("100")).json()["id"]
            await until(lambda: len(receiver.received) == 1)
            ping = (await bank.send("POST", f"{path}/pings")).json()
            await until(lambda: len(receiver.received) == 2)

            async def are_delivered() -> bool:
                listed = (await bank.get(f"{path}/deliveries?status=delivered")).json()
                return len(listed["items"]) == 2

            await until(are_delivered)
            detail = (await bank.get(f"{path}/deliveries/{ping['id']}")).json()
            first = (await bank.get(f"{path}/deliveries")).json()["items"][-1]
            again = await bank.send("POST", f"{path}/deliveries/{first['id']}/redeliveries")
            assert again.status_code == 202
            await until(lambda: len(receiver.received) == 3)
            listed = (await bank.get("/v1/events?type=payout.ready")).json()["items"]

        told, pinged, repeated = receiver.received
        assert told.event == listed[0]
        assert (told.event["type"], told.event["resource_id"]) == ("payout.ready", payout_id)
        assert pinged.event["type"] == "webhook_endpoint.pinged"
        assert repeated.body == told.body
        assert detail["status"] == DeliveryStatus.DELIVERED
        assert [(a["number"], a["status_code"]) for a in detail["attempts"]] == [(1, 204)]
        # The clock of these books is ahead of the library's: signatures are judged elsewhere.
        assert all("webhook-signature" in r.headers for r in receiver.received)

    async def test_that_nobody_knows_is_not_there(self, bank: Bank) -> None:
        path = f"{PATH}/{(await create(bank)).json()['endpoint']['id']}"
        unknown = await bank.get(f"{path}/deliveries/{new_id('whd')}")

        assert code_of(unknown) == "webhook_delivery_not_found"
