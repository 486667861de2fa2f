"""A worker may die between a step's effect and its answer: everything still ends the same."""

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.payouts import PayoutStatus
from tests.support import kyc_scenarios, pocket_scenarios, scenarios
from tests.support.crashing import CrashAfter
from tests.support.fakes import Books
from tests.support.flows import Flow, flow_on, until
from tests.support.scenarios import SCENARIOS, Scenario

CRASHES: dict[str, Scenario] = {
    "payout.freeze": scenarios.automatic,
    "payout.decide": scenarios.two_of_three,
    "payout.cancel": scenarios.cancelled,
    "payout.expire": scenarios.expired,
    "payout.outcome": scenarios.rechecked,
    "payout.refund_unsigned": scenarios.refunded,
    "payout.retry_abandoned": scenarios.retried,
    "pocket.freeze": pocket_scenarios.sent,
    "pocket.make_ready": pocket_scenarios.funded,
    "chain.advance_pocket": pocket_scenarios.redeemed,
    "run.start": scenarios.run_refused,
    "run.decide": scenarios.run_approved_by_lines,
    "run.cancel": scenarios.run_cancelled,
    "run.expire": scenarios.run_expired,
    "run.advance": scenarios.run_paid,
    "run.refund_line": scenarios.run_mended,
    "run.retry_line": scenarios.run_mended,
    "outgoing.await_batch": scenarios.together,
    "outgoing.allocate": scenarios.automatic,
    "outgoing.give_up_refused": scenarios.refunded,
    "outgoing.settle": scenarios.automatic,
    "outgoing.notify": scenarios.automatic,
    "chain.prepare": scenarios.automatic,
    "chain.broadcast": scenarios.automatic,
    "chain.plan_bumps": scenarios.bumped,
    "chain.plan_sweeps": scenarios.swept,
    "chain.watch": scenarios.together,
    "deposit.advance": scenarios.reversed_later,
    "webhook.dispatch": scenarios.webhook_taken,
    "webhook.attempt": scenarios.webhook_taken,
    "kyc.advance": kyc_scenarios.kyc_expired,
    "kyc.decide": kyc_scenarios.kyc_approved,
    "kyc.supply": kyc_scenarios.kyc_approved,
    "kyc.withdraw": kyc_scenarios.kyc_withdrawn,
    "kyc.downgrade": kyc_scenarios.kyc_revoked,
    "signing.sign_batch": scenarios.automatic,
}
"""Each activity, and a path that takes it."""

NOT_REPLAYED = (scenarios.whole, scenarios.swept_together)
"""Without a cache, what starts several workflows at once loses tasks, each for ten seconds."""
REPLAYED = [scenario for scenario in SCENARIOS if scenario not in NOT_REPLAYED]


async def standing_after(environment: WorkflowEnvironment, scenario: Scenario) -> dict[str, object]:
    async with flow_on(environment, Books()) as flow:
        await scenario(flow)
    return flow.books.standing()


class TestCrash:
    async def test_is_tried_after_every_activity(self, temporal: WorkflowEnvironment) -> None:
        served = Flow(temporal, Books()).steps().values()
        names = {
            getattr(step, "__temporal_activity_definition").name
            for steps in served
            for step in steps
        }

        assert names == set(CRASHES)

    @pytest.mark.parametrize("name", CRASHES)
    async def test_after_a_step_ends_as_if_nothing_happened(
        self, temporal: WorkflowEnvironment, name: str
    ) -> None:
        crash = CrashAfter(name)
        async with flow_on(temporal, Books(), crash) as flow:
            await CRASHES[name](flow)

        assert crash.crashes == 1
        assert flow.books.standing() == await standing_after(temporal, CRASHES[name])


class TestRestart:
    async def test_of_the_worker_between_two_approvals_loses_nothing(
        self, temporal: WorkflowEnvironment
    ) -> None:
        flow = Flow(temporal, Books(approvals_required=2, confirms_by_itself=False))
        async with flow.working():
            payout = await flow.request()
            payout_id = payout.id.partition("/")[2]
            await flow.decide(payout_id, "ann")
        async with flow.working():
            await flow.decide(payout_id, "ben")
            batch = await flow.start_batch()
            await until(lambda: any(b.sent for b in flow.books.batches.values()))
        flow.chain.mine()
        async with flow.working():
            await flow.notifier.batches_moved(list(flow.books.batches))
            await batch.result()
            outcome = await payout.result()

        assert outcome.status == PayoutStatus.SETTLED
        assert (flow.books.holds_placed, flow.books.nonces_given) == (1, 1)

    @pytest.mark.parametrize("scenario", REPLAYED, ids=lambda s: s.__name__)
    async def test_at_every_single_step_ends_the_same(
        self, temporal: WorkflowEnvironment, scenario: Scenario
    ) -> None:
        # Without a cache each step replays the whole history, like a worker that just started.
        async with flow_on(temporal, Books(), cached_workflows=0) as flow:
            await scenario(flow)

        assert flow.books.standing() == await standing_after(temporal, scenario)
