"""Timeouts and retries, named once: what must happen is tried for ever, what may fail is not."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from domain.errors import StrongroomError

PATIENT = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=10)
)
"""For what must happen sooner or later: nodes, the signer, fees below the ceiling."""

NODE_STEP = timedelta(minutes=2)
"""One try of an activity that asks a node or signs, for a whole batch."""

DEAD_AFTER = timedelta(seconds=10)
"""A worker whose heartbeat is missing for this long is dead, and its activity runs elsewhere."""


def database(summary: str) -> workflow.LocalActivityConfig:
    """One unit of work on PostgreSQL. While it is down the step waits; it is idempotent."""
    return workflow.LocalActivityConfig(
        start_to_close_timeout=timedelta(seconds=15),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5)
        ),
        summary=summary,
    )


def patient(
    summary: str, *, queue: str | None = None, give_up_after: timedelta | None = None
) -> workflow.ActivityConfig:
    """Return options of a step on a downstream's own queue; without an end unless one is given."""
    options = workflow.ActivityConfig(
        start_to_close_timeout=NODE_STEP,
        heartbeat_timeout=DEAD_AFTER,
        retry_policy=PATIENT,
        summary=summary,
    )
    if queue is not None:
        options["task_queue"] = queue
    if give_up_after is not None:
        options["schedule_to_close_timeout"] = give_up_after
    return options


def many_rows(summary: str) -> workflow.ActivityConfig:
    """One unit of work on PostgreSQL that may concern a hundred thousand rows."""
    return workflow.ActivityConfig(
        start_to_close_timeout=timedelta(minutes=5),
        # Without it a run would wait for a worker that was killed until that time is over.
        heartbeat_timeout=DEAD_AFTER,
        retry_policy=PATIENT,
        summary=summary,
    )


def watching(summary: str, *, queue: str | None = None) -> workflow.ActivityConfig:
    """Return options of a long activity, which outlasts many an ordinary one."""
    options = patient(summary, queue=queue)
    options["start_to_close_timeout"] = timedelta(minutes=10)
    return options


def refusal(error: type[StrongroomError], detail: str | None = None) -> ApplicationError:
    """Return what an update handler raises to say no, with the error's stable code as type."""
    return ApplicationError(detail or error.title, type=error.code, non_retryable=True)
