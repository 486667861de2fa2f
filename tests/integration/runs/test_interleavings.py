"""Runs against what they promise: any order of requests, steps, deaths, blocks and reorgs."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.runs.to_rest import InterleavingMachine
from tests.support.postgres import PostgresServer


def test_every_line_is_paid_once_or_given_back(postgres_server: PostgresServer) -> None:
    InterleavingMachine.server = postgres_server
    run_state_machine_as_test(
        InterleavingMachine,
        settings=settings(
            max_examples=3,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            # Finding the shortest history takes minutes: ``make soak`` does.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
