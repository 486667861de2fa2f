"""
``make soak``: runs against what they promise, in ever other orders, for so many minutes.

It is the state machine of ``tests/integration/runs`` with random dice and longer histories. The
first broken promise ends it with exit 1 and the shortest history that breaks it.
"""

import argparse
import logging
import time

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.runs.to_rest import InterleavingMachine
from tests.support.postgres import TEMPLATE, create_schema, running_postgres

ROUND_EXAMPLES = 10
STEPS = 60


def main() -> None:
    """Run rounds until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    minutes: float = parser.parse_args().minutes
    # Signers that refuse say so; here they are told to.
    logging.disable()
    began, rounds = time.monotonic(), 0
    with running_postgres() as server:
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        create_schema(server.url(TEMPLATE))
        InterleavingMachine.server = server
        while time.monotonic() - began < minutes * 60:
            run_state_machine_as_test(InterleavingMachine, settings=SETTINGS)
            rounds += 1
            histories = rounds * ROUND_EXAMPLES
            print(f"{histories} histories, {time.monotonic() - began:.0f} s", flush=True)


SETTINGS = settings(
    max_examples=ROUND_EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


if __name__ == "__main__":
    main()
