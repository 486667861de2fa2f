"""What the documents leave out about bulk payouts."""

from pathlib import Path

import pytest

from outgoing.operator import OPERATOR_REFUND
from outgoing.settlement import RECIPIENT_FAILED, REVERTED_ON_CHAIN

STATES = Path(__file__).parents[2] / "docs" / "reference" / "states.md"


@pytest.mark.xfail(strict=True, reason="recipient_failed stands in no document")
def test_states_name_every_reason_of_a_refund() -> None:
    text = STATES.read_text()
    reasons = (OPERATOR_REFUND, RECIPIENT_FAILED, REVERTED_ON_CHAIN)
    assert [reason for reason in reasons if reason not in text] == []


@pytest.mark.xfail(strict=True, reason="the hold of a run ends part by part, not once")
def test_states_say_how_the_hold_of_a_run_ends() -> None:
    _, _, hold = STATES.read_text().partition("## A hold")
    assert "part" in hold
