"""
The API holds what its OpenAPI document promises, asked by a machine with much imagination.

The requests come over a socket, from a thread of their own: the application's connections belong
to the test's event loop.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, override

import hypothesis
import hypothesis.errors
import pytest
import schemathesis
import uvicorn
from schemathesis.config import CacheConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import update
from temporalio.testing import WorkflowEnvironment

from domain.policy import PolicyDocument
from domain.rate_table import RateTableDocument
from gateways.rates.table import store_table
from infra.database import Database
from models.identity import Role, UserSession
from payouts.policy import store_policy
from tests.support.bank import Bank, fund, open_bank
from tests.support.flows import until

SEED = 20_260_101
EXAMPLES_PER_OPERATION = 8
STORIES, EXAMPLES_PER_STORY, STEPS_PER_STORY = 8, 4, 12

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

SUICIDAL = ("/v1/sessions", "/v1/2fa", "/v1/admins")
"""What is sent here could lock its sender out; somebody else sends it."""

Case = schemathesis.Case[Any]
Answering = Callable[[Case], None]


@asynccontextmanager
async def listening(bank: Bank) -> AsyncIterator[str]:
    """Yield the address of the bank's application on a free port."""
    server = uvicorn.Server(uvicorn.Config(bank.app, port=0, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def bank(temporal: WorkflowEnvironment, database: Database) -> AsyncIterator[Bank]:
    async with open_bank(temporal.client, database) as opened:
        yield opened


@pytest.fixture
async def put(bank: Bank) -> Answering:
    """Return what puts a caller who may do everything, and a fresh code, into a request."""
    boss, victim = [await bank.person(name, *Role) for name in ("boss", "victim")]
    await fund(bank.database, boss.id, bank.clock, amount_minor=10**30)
    async with bank.database.transaction() as session:
        await store_policy(session, PolicyDocument(rules=()), by="test")
        # Without one nothing can be sold yet, and the API says to come back later.
        await store_table(session, RateTableDocument(), by="test")
        # Half a minute passes with every request, and there are more than a session lasts for.
        forever = bank.clock.now() + timedelta(days=365)
        await session.execute(update(UserSession).values(expires_at=forever))

    def put(case: Case) -> None:
        sender = victim if case.operation.path.startswith(SUICIDAL) else boss
        bank.clock.advance(timedelta(seconds=30))
        case.headers.update(sender.headers | {"TOTP-Code": sender.code()})

    return put


def schema_of(address: str, folder: Path) -> Any:
    config = SchemathesisConfig(seed=SEED, cache=CacheConfig(directory=str(folder)))
    return schemathesis.openapi.from_url(f"{address}/openapi.json", config=config)


def settings(examples: int, **more: Any) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        **more,
    )


def ask_everything(schema: Any, put: Answering, *, mode: schemathesis.GenerationMode) -> int:
    """Call each operation with generated input; return how many there were."""
    extra = [negative_data_rejection] if mode == schemathesis.GenerationMode.NEGATIVE else []
    operations = [result.ok() for result in schema.get_all_operations()]
    for operation in operations:
        documented = [] if extra else operation.get_strategies_from_examples()
        for strategy in (operation.as_strategy(generation_mode=mode), *documented):

            @settings(EXAMPLES_PER_OPERATION)
            @hypothesis.seed(SEED)
            @hypothesis.given(case=strategy)
            def ask(case: Case) -> None:
                put(case)
                case.call_and_validate(checks=[*CHECKS, *extra])

            # Nothing wrong can be sent to an operation that takes nothing.
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                ask()
    return len(operations)


def tell_stories(schema: Any, put: Answering) -> tuple[int, list[str]]:
    """Call operations in turn, with what earlier answers returned; return calls and failures."""
    base: Any = schema.as_state_machine()
    calls, failures = 0, []

    class Stories(base):  # type: ignore[misc]
        @override
        def before_call(self, case: Case) -> None:
            nonlocal calls
            calls += 1
            put(case)

        @override
        def validate_response(self, response: schemathesis.Response, case: Case, **_: Any) -> None:
            try:
                case.validate_response(response, checks=CHECKS)
            except BaseExceptionGroup as group:
                failures.append(f"{case.operation.label}: {group.exceptions}")

    # Few examples at a time: the application remembers, and what is repeated differs.
    for number in range(STORIES):
        with contextlib.suppress(hypothesis.errors.FlakyStrategyDefinition):
            chosen = settings(EXAMPLES_PER_STORY, stateful_step_count=STEPS_PER_STORY)
            hypothesis.seed(SEED + number)(Stories).run(settings=chosen)
    return calls, failures


class TestOpenApi:
    @pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
    async def test_is_kept_whatever_is_sent(
        self, bank: Bank, put: Answering, tmp_path: Path, mode: schemathesis.GenerationMode
    ) -> None:
        async with listening(bank) as address:
            schema = await asyncio.to_thread(schema_of, address, tmp_path)
            asked = await asyncio.to_thread(ask_everything, schema, put, mode=mode)
        found = (await bank.get("/v1/payouts?scope=all", bank.staff["boss"])).json()["items"]

        assert asked >= 30
        assert bool(found) == (mode == schemathesis.GenerationMode.POSITIVE)

    async def test_is_kept_from_one_call_to_the_next(
        self, bank: Bank, put: Answering, tmp_path: Path
    ) -> None:
        async with listening(bank) as address:
            schema = await asyncio.to_thread(schema_of, address, tmp_path)
            calls, failures = await asyncio.to_thread(tell_stories, schema, put)

        assert failures == []
        assert calls >= STORIES
