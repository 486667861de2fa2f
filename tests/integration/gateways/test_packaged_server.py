"""A second opinion: the same client against somebody else's Stripe-compatible server."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import override

import httpx
import pytest
import stripe

from domain.gateway_ports import IntentStatus
from gateways.stripe.client import StripeGateway

KEY = "sk_test_12345"
START_TIMEOUT_S = 30.0


class Gateway(StripeGateway):
    """Does without what the packaged server does not know: disputes, and what was received."""

    @override
    def _received_minor(self, intent: stripe.PaymentIntent) -> int:
        return intent.amount if intent.status == "succeeded" else 0

    @override
    async def _disputed_minor(self, intent: stripe.PaymentIntent) -> int:
        return 0


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Run the packaged server as a process of its own; it keeps its state where it stands."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = _started(tmp_path, port)
    try:
        await _ready(process, f"http://127.0.0.1:{port}", tmp_path / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _started(folder: Path, port: int) -> subprocess.Popen[bytes]:
    # By itself it listens on every interface; here it is given loopback alone.
    start = (
        "import localstripe.server as s, sys; from aiohttp import web; run = web.run_app;"
        "web.run_app = lambda app, **k: run(app, host='127.0.0.1', port=int(sys.argv[2]),"
        " access_log=None); s.start()"
    )
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", start, "--port", str(port), "--from-scratch"],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, "TMPDIR": str(folder)},
        )


def _end_of(log: Path) -> str:
    return log.read_text()[-500:]


async def _ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
    async with httpx.AsyncClient(trust_env=False, auth=(KEY, "")) as client:
        while True:
            try:
                if (await client.get(f"{url}/v1/balance")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            late = asyncio.get_running_loop().time() > deadline
            if process.poll() is not None or late:
                pytest.skip(f"THE PACKAGED STRIPE SERVER DOES NOT START: {_end_of(log)}")
            await asyncio.sleep(0.1)


async def test_the_happy_path_is_the_same_there(url: str) -> None:
    gateway = Gateway(KEY, base_url=url)
    try:
        intent = await gateway.create_intent(
            purchase_id="pur_1", amount_minor=2_500, currency="USD"
        )
        assert intent.status == IntentStatus.OPEN
        async with httpx.AsyncClient(base_url=url, trust_env=False, auth=(KEY, "")) as browser:
            method = await browser.post(
                "/v1/payment_methods",
                data={
                    "type": "card",
                    "card[number]": "4242424242424242",
                    "card[exp_month]": "12",
                    "card[exp_year]": "2050",
                    "card[cvc]": "123",
                },
            )
            path = f"/v1/payment_intents/{intent.intent_id}"
            paid = await browser.post(path, data={"payment_method": method.json()["id"]})
            assert paid.status_code == 200, paid.text
            confirmed = await browser.post(f"{path}/confirm")
            assert confirmed.status_code == 200, confirmed.text
        payment = await gateway.payment(intent.intent_id)
        assert (payment.status, payment.received_minor) == (IntentStatus.SUCCEEDED, 2_500)
        assert await gateway.intent_of("x", intent.intent_id) == intent.intent_id
        refund = await gateway.refund(
            refund_id="prf_1", intent_id=intent.intent_id, amount_minor=1_000
        )
        assert (refund.amount_minor, refund.is_failed) == (1_000, False)
    finally:
        await gateway.close()
