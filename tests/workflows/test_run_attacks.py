"""Attacks on the workflow of a bulk payout that succeed today."""

import pytest

from domain.errors import PayoutRunStateError
from tests.support.flows import Flow, events_of
from tests.support.temporal import CONTINUE_AS_NEW_AFTER_EVENTS


@pytest.mark.xfail(strict=True, reason="what is refused wakes nothing, so no new history begins")
async def test_refused_requests_do_not_grow_a_history_without_end(flow: Flow) -> None:
    """Each asks to take back a line that is not there; the server ends a run of 51,200 events."""
    run = await flow.run_of(10)
    first = await flow.execution_of(run)
    for _ in range(CONTINUE_AS_NEW_AFTER_EVENTS // 2):
        with pytest.raises(PayoutRunStateError):
            await flow.cancel_run(run, lines="99")
    events = await events_of(first)
    assert events[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW", len(events)
