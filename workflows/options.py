"""Timeouts and retries, named once: what must happen is tried for ever, what may fail is not."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from domain.errors import StrongroomError

DATABASE = workflow.LocalActivityConfig(
    start_to_close_timeout=timedelta(seconds=15),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5)
    ),
)
"""One unit of work on PostgreSQL. While it is down the step waits; it is idempotent."""

PATIENT = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=10)
)
"""For what must happen sooner or later: nodes, the signer, fees below the ceiling."""

WATCHING = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=10),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=PATIENT,
)
"""A long activity that waits; a dead worker is noticed by its missing heartbeat."""


def refusal(error: type[StrongroomError], detail: str | None = None) -> ApplicationError:
    """Return what an update handler raises to say no, with the error's stable code as type."""
    return ApplicationError(detail or error.title, type=error.code, non_retryable=True)
