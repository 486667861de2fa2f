"""
What workflows cost on an engine that bills by the action: counted from their histories.

Counted are starts (children too), activities with each retry, local activities, updates, signals
and timers. Heartbeats are not in a history; those of a batch's steps are few.
"""

from datetime import UTC, datetime

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

ACTIONS = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        EventType.EVENT_TYPE_MARKER_RECORDED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        EventType.EVENT_TYPE_TIMER_STARTED,
    }
)
"""A child's start is counted where the child's own history begins."""


async def actions_of(client: Client, workflow_id: str, *, since: datetime | None = None) -> int:
    """Return the actions of a workflow's latest history, or of its part from a time on."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    return sum(
        _actions(event)
        for event in history.events
        if since is None or event.event_time.ToDatetime(UTC) >= since
    )


def _actions(event: HistoryEvent) -> int:
    retries = max(0, event.activity_task_started_event_attributes.attempt - 1)
    return (event.event_type in ACTIONS) + retries
