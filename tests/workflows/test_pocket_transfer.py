"""The workflow of a transfer to or from a pocket: what it waits for, and how it ends."""

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.errors import OwnRequestError
from domain.payouts import PayoutStatus
from domain.pockets import Route
from tests.support import pocket_scenarios as scenarios
from tests.support.crashing import CrashAfter
from tests.support.fakes import Books
from tests.support.flows import Flow, events_of, flow_on, until


def the_status(flow: Flow) -> PayoutStatus:
    (payout,) = flow.books.payouts.values()
    return payout.status


class TestFunding:
    async def test_makes_the_pocket_after_approval_and_shares_a_batch(self, flow: Flow) -> None:
        await scenarios.funded(flow)
        assert the_status(flow) == PayoutStatus.SETTLED
        assert flow.books.pockets == {"usr_requester"}

    @pytest.mark.parametrize(
        ("scenario", "status"),
        [
            (scenarios.funding_rejected, PayoutStatus.REJECTED),
            (scenarios.funding_expired, PayoutStatus.EXPIRED),
            (scenarios.funding_refused, PayoutStatus.REFUSED),
        ],
    )
    async def test_that_does_not_take_place_makes_no_pocket(
        self, flow: Flow, scenario: scenarios.Scenario, status: PayoutStatus
    ) -> None:
        available = flow.books.available_minor
        await scenario(flow)
        assert the_status(flow) == status
        assert flow.books.available_minor == available
        assert flow.books.pockets == set()

    async def test_is_not_decided_on_by_its_requester(self, flow: Flow) -> None:
        flow.books.approvals_required = 1
        transfer = await flow.transfer(Route.FUND)
        with pytest.raises(OwnRequestError):
            await flow.decide(transfer.id.partition("/")[2], "usr_requester")


class TestConverting:
    async def test_takes_a_quote_once(self, flow: Flow) -> None:
        await scenarios.funded_converting(flow)
        statuses = [payout.status for payout in flow.books.payouts.values()]
        codes = [payout.reason_code for payout in flow.books.payouts.values()]
        assert statuses == [PayoutStatus.SETTLED, PayoutStatus.REFUSED]
        assert codes == [None, "quote_used"]
        assert (flow.books.holds_placed, len(flow.books.batches)) == (1, 1)

    async def test_settles_what_comes_back(self, flow: Flow) -> None:
        await scenarios.redeemed_converting(flow)
        assert the_status(flow) == PayoutStatus.SETTLED

    async def test_that_is_taken_back_restores_what_was_held(self, flow: Flow) -> None:
        available = flow.books.available_minor
        await scenarios.converting_cancelled(flow)
        assert the_status(flow) == PayoutStatus.CANCELLED
        assert flow.books.available_minor == available
        assert flow.books.quotes

    @pytest.mark.parametrize("step", ["pocket.freeze", "pocket.make_ready", "payout.decide"])
    async def test_of_a_worker_that_dies_takes_its_quote_all_the_same(
        self, temporal: WorkflowEnvironment, step: str
    ) -> None:
        standings = []
        for crashes in ((CrashAfter(step),), ()):
            async with flow_on(temporal, Books(), *crashes) as flow:
                await scenarios.funded_converting(flow)
            standings.append(flow.books.standing())
        assert standings[0] == standings[1]


class TestSpending:
    async def test_waits_for_its_gas(self, flow: Flow) -> None:
        await scenarios.redeemed(flow)
        assert the_status(flow) == PayoutStatus.SETTLED
        assert len(flow.books.batches) == 2

    async def test_drives_its_chain_transaction_once(self, flow: Flow) -> None:
        handles = await scenarios.sent(flow)
        events = await events_of(handles["pocket_sent"])
        assert events.count("CHILD_WORKFLOW_EXECUTION_STARTED") == 1
        assert flow.books.nonces_given == 1

    async def test_is_taken_back_while_it_waits(self, flow: Flow) -> None:
        available = flow.books.available_minor
        await scenarios.send_cancelled(flow)
        assert the_status(flow) == PayoutStatus.CANCELLED
        assert flow.books.available_minor == available

    async def test_finds_out_by_itself_that_it_is_settled(self, flow: Flow) -> None:
        handles = await scenarios.send_rechecked(flow)
        assert "TIMER_FIRED" in await events_of(handles["pocket_send_rechecked"])
        assert the_status(flow) == PayoutStatus.SETTLED

    async def test_is_tried_again_by_an_operator(self, flow: Flow) -> None:
        await scenarios.send_retried(flow)
        assert the_status(flow) == PayoutStatus.SETTLED

    async def test_goes_on_in_another_history(self, flow: Flow) -> None:
        handles = await scenarios.send_waited_for_long(flow)
        events = await events_of(handles["pocket_send_renewed"])
        assert events[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
        assert (the_status(flow), flow.books.holds_placed) == (PayoutStatus.SETTLED, 1)

    async def test_does_not_look_before_its_time(self, flow: Flow) -> None:
        flow.books.is_held_back = True
        transfer = await flow.transfer(Route.SEND)
        await until(lambda: flow.books.pocket_looks == 1)
        await flow.environment.fast_forward(transfer, timedelta(seconds=200))
        assert flow.books.pocket_looks == 1
        await flow.environment.fast_forward(transfer, timedelta(seconds=101))
        await until(lambda: flow.books.pocket_looks == 2)
