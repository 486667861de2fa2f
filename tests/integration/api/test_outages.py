"""What is answered while PostgreSQL, Temporal or every worker is away."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from infra.database import Database
from infra.temporal import connect, data_converter
from tests.support.bank import DESTINATION, FUNDS_MINOR, Bank, code_of
from tests.support.identity import identity_for_tests
from tests.support.temporal import CODEC_KEYS, NAMESPACE, running_temporal

BODY = {"asset": "ETH", "amount": "100", "destination": DESTINATION}
IMPATIENT = {"accept_timeout": timedelta(seconds=1)}


async def away(kind: str) -> AsyncIterator[Client]:
    """Yield a client of a server that never was, or that is gone after the client had met it."""
    if kind == "never there":
        yield await connect(
            address="127.0.0.1:1", namespace=NAMESPACE, codec_keys=CODEC_KEYS, lazy=True
        )
        return
    async with running_temporal(data_converter(CODEC_KEYS, namespace=NAMESPACE)) as environment:
        client = environment.client
    yield client


@pytest.fixture(params=["never there", "gone"])
async def no_temporal(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async for client in away(request.param):
        yield client


def headers_of(bank: Bank) -> dict[str, str]:
    bank.clock.advance(timedelta(seconds=30))
    code = bank.customer.code()
    return bank.customer.headers | {"Idempotency-Key": "k", "TOTP-Code": code}


def assert_unavailable(answer: httpx.Response, code: str) -> None:
    assert (answer.status_code, code_of(answer)) == (503, code)
    assert int(answer.headers["Retry-After"]) > 0


class TestWithoutTemporal:
    async def test_nothing_is_written_and_the_same_request_works_later(
        self, bank: Bank, no_temporal: Client
    ) -> None:
        settings = bank.state.settings.model_copy(update=IMPATIENT)
        async with bank.without(temporal=no_temporal, settings=settings) as client:
            refused = await client.post("/v1/payouts", json=BODY, headers=headers_of(bank))
        nothing = await bank.payouts()
        balances = await bank.balances()
        later = await bank.client.post("/v1/payouts", json=BODY, headers=headers_of(bank))

        assert_unavailable(refused, "workflow_engine_unavailable")
        assert (nothing, balances) == ([], (FUNDS_MINOR, 0))
        assert later.status_code == 202

    async def test_reading_goes_on_and_readiness_says_no(
        self, bank: Bank, no_temporal: Client
    ) -> None:
        async with bank.without(temporal=no_temporal) as client:
            wallet = await client.get("/v1/wallets", headers=bank.customer.headers)
            ready = await client.get("/ready")
            health = await client.get("/health")

        assert_unavailable(ready, "workflow_engine_unavailable")
        assert (wallet.status_code, health.status_code) == (200, 200)

    async def test_a_decision_is_not_taken(self, bank: Bank, no_temporal: Client) -> None:
        payout = (await bank.pay("5000")).json()
        settings = bank.state.settings.model_copy(update=IMPATIENT)
        path = f"/v1/payouts/{payout['id']}/cancellation"
        async with bank.without(temporal=no_temporal, settings=settings) as client:
            answer = await client.post(path, headers=headers_of(bank))

        assert_unavailable(answer, "workflow_engine_unavailable")
        assert (await bank.payouts())[0]["status"] == "awaiting_approval"


class TestWithoutWorkers:
    async def test_the_request_is_answered_once_there_is_one(
        self, bank: Bank, temporal: WorkflowEnvironment
    ) -> None:
        del temporal
        settings = bank.state.settings.model_copy(update=IMPATIENT)
        await bank.stop_worker()
        async with bank.without(settings=settings) as client:
            waited = await client.post("/v1/payouts", json=BODY, headers=headers_of(bank))
        async with bank.worker():
            later = await bank.client.post("/v1/payouts", json=BODY, headers=headers_of(bank))

        assert_unavailable(waited, "workflow_engine_unavailable")
        assert later.status_code == 202
        assert len(await bank.payouts()) == 1


class TestWithoutPostgres:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/wallets"),
            ("GET", "/v1/payouts"),
            ("POST", "/v1/payouts"),
            ("GET", "/ready"),
            ("GET", "/metrics"),
        ],
    )
    async def test_everybody_is_asked_to_come_back(
        self, bank: Bank, method: str, path: str
    ) -> None:
        gone = Database("postgresql://nobody@127.0.0.1:1/none")
        identity = identity_for_tests(gone, bank.clock)
        async with bank.without(database=gone, identity=identity) as client:
            body = BODY if method == "POST" else None
            answer = await client.request(method, path, json=body, headers=headers_of(bank))
            health = await client.get("/health")

        assert_unavailable(answer, "database_unavailable")
        assert health.status_code == 200
