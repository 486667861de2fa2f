"""The workflow of a purchase: it looks when told to, asks the gateway, and may begin again."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from domain.errors import PurchaseStateError
from domain.purchases import PurchaseStatus, RefundRequest
from tests.support import purchase_flows as scenarios
from tests.support.crashing import CrashAfter
from tests.support.fake_shop import FakeShop
from tests.support.flows import until
from tests.support.purchase_flows import (
    PURCHASE_SCENARIOS,
    PurchaseFlow,
    Scenario,
    purchase_flow_on,
)
from tests.support.temporal import CONTINUE_AS_NEW_AFTER_EVENTS

CRASHES: dict[str, Scenario] = {
    "purchase.open": scenarios.card_paid,
    "purchase.advance": scenarios.disputed,
    "purchase.cancel": scenarios.card_given_up,
    "purchase.request_refund": scenarios.card_refunded,
    "purchase.tell": scenarios.chain_reversed,
    "deposit.advance": scenarios.chain_paid,
    "card.create_intent": scenarios.card_paid,
    "card.sync": scenarios.card_paid,
    "card.cancel_intent": scenarios.card_expired,
    "card.refund": scenarios.card_refunded,
    "card.handle_event": scenarios.disputed,
    "card.review": scenarios.card_reviewed,
    "rates.follow": scenarios.rates_followed,
}
"""Each activity, and a path that takes it."""


@pytest.fixture
async def flow(temporal: WorkflowEnvironment) -> AsyncIterator[PurchaseFlow]:
    async with purchase_flow_on(temporal, FakeShop()) as opened:
        yield opened


async def standing_after(environment: WorkflowEnvironment, scenario: Scenario) -> dict[str, object]:
    async with purchase_flow_on(environment, FakeShop()) as flow:
        await scenario(flow)
    return flow.shop.standing()


def only(flow: PurchaseFlow) -> PurchaseStatus:
    (purchase,) = flow.shop.purchases.values()
    return purchase.status


class TestPaths:
    @pytest.mark.parametrize(
        ("scenario", "status", "counts"),
        [
            (scenarios.card_paid, "completed", {"credited": 1, "intent": 1, "opened": 1}),
            (scenarios.card_rechecked, "completed", {"credited": 1, "intent": 1, "opened": 1}),
            (
                scenarios.card_expired,
                "expired",
                {"expired": 1, "intent": 1, "intent cancelled": 1, "opened": 1},
            ),
            (
                scenarios.card_given_up,
                "cancelled",
                {"cancelled": 1, "intent": 1, "intent cancelled": 1, "opened": 1},
            ),
            (
                scenarios.card_refunded,
                "refunded",
                {"credited": 1, "intent": 1, "opened": 1, "refund requested": 1, "refunded": 1},
            ),
            (
                scenarios.disputed,
                "completed",
                {"clawed back": 1, "credited": 2, "intent": 1, "opened": 1},
            ),
            (scenarios.chain_paid, "completed", {"credited": 1, "opened": 1}),
            (
                scenarios.chain_reversed,
                "clawed_back",
                {"clawed back": 1, "credited": 1, "opened": 1},
            ),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    async def test_end_as_they_should(
        self, flow: PurchaseFlow, scenario: Scenario, status: str, counts: dict[str, int]
    ) -> None:
        for handle in (await scenario(flow)).values():
            described = await handle.describe()
            assert described.status == WorkflowExecutionStatus.COMPLETED
        assert flow.shop.standing() == {"statuses": [status], "counts": counts}

    async def test_that_are_refused_open_nothing(self, flow: PurchaseFlow) -> None:
        await scenarios.quote_refused(flow)
        assert flow.shop.standing() == {"statuses": [], "counts": {}}


class TestNews:
    async def test_told_many_times_credits_once(self, flow: PurchaseFlow) -> None:
        purchase = await scenarios.with_intent(flow)
        purchase.is_paid = True
        run = await flow.run_of(purchase)
        for _ in range(10):
            await flow.tell(purchase)
        await run.result()
        for _ in range(3):
            await flow.tell(purchase)
            await (await flow.run_of(purchase)).result()
        assert flow.shop.counts["credited"] == 1

    async def test_of_one_event_starts_one_workflow(self, flow: PurchaseFlow) -> None:
        purchase = await scenarios.with_intent(flow)
        event_id = f"evt_{purchase.id}"
        handle = await flow.event(event_id, purchase.id)
        await handle.result()
        first = (await handle.describe()).run_id
        for _ in range(3):
            await flow.api.take_event(event_id)
        assert (await handle.describe()).run_id == first
        assert flow.shop.handled == {event_id}

    async def test_of_nothing_of_ours_tells_nobody(self, flow: PurchaseFlow) -> None:
        purchase = await scenarios.with_intent(flow)
        looks = flow.shop.looks
        await (await flow.event("evt_strange", None)).result()
        assert (flow.shop.handled, flow.shop.looks) == ({"evt_strange"}, looks)
        assert purchase.status == PurchaseStatus.AWAITING_PAYMENT

    async def test_waits_until_the_gateway_answers(self, flow: PurchaseFlow) -> None:
        purchase = await scenarios.with_intent(flow)
        purchase.is_paid = True
        flow.shop.gateway_failures = 2
        await flow.tell(purchase)
        await (await flow.run_of(purchase)).result()
        assert only(flow) == PurchaseStatus.COMPLETED


class TestGatewayDown:
    async def test_lets_a_purchase_expire_that_nobody_could_pay(self, flow: PurchaseFlow) -> None:
        flow.shop.is_gateway_down, flow.shop.window = True, timedelta(seconds=1)
        purchase = await flow.buy()
        run = await flow.run_of(purchase)
        await until(lambda: flow.shop.looks > 0)
        flow.shop.clock.advance(flow.shop.window)
        # Time is not skipped past an activity that is being tried.
        await run.result()
        assert only(flow) == PurchaseStatus.EXPIRED


class TestRefusals:
    async def test_reach_who_asked(self, flow: PurchaseFlow) -> None:
        purchase = await scenarios.with_intent(flow)
        with pytest.raises(PurchaseStateError):
            await flow.api.refund(RefundRequest("prf_1", purchase.id, "usr_operator", "1"))
        purchase.is_paid = True
        await flow.tell(purchase)
        await (await flow.run_of(purchase)).result()
        with pytest.raises(PurchaseStateError):
            await flow.api.cancel(purchase.id)


class TestHistory:
    async def test_that_is_long_goes_on_in_another(self, flow: PurchaseFlow) -> None:
        purchase = await scenarios.with_intent(flow)
        first = await flow.run_of(purchase)
        for _ in range(CONTINUE_AS_NEW_AFTER_EVENTS):
            asked = flow.shop.asked
            await flow.tell(purchase)
            await until(lambda asked=asked: flow.shop.asked > asked)
            if (await flow.run_of(purchase)).run_id != first.run_id:
                break
        purchase.is_paid = True
        await flow.tell(purchase)
        await (await flow.run_of(purchase)).result()
        assert (await first.describe()).status == WorkflowExecutionStatus.CONTINUED_AS_NEW
        assert only(flow) == PurchaseStatus.COMPLETED


class TestCrash:
    def test_is_tried_after_every_activity(self, temporal: WorkflowEnvironment) -> None:
        served = PurchaseFlow(temporal, FakeShop()).steps().values()
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
        async with purchase_flow_on(temporal, FakeShop(), crash) as flow:
            await CRASHES[name](flow)
        assert crash.crashes == 1
        assert flow.shop.standing() == await standing_after(temporal, CRASHES[name])

    @pytest.mark.parametrize("scenario", PURCHASE_SCENARIOS[:-1], ids=lambda s: s.__name__)
    async def test_of_the_worker_at_every_single_step_ends_the_same(
        self, temporal: WorkflowEnvironment, scenario: Scenario
    ) -> None:
        async with purchase_flow_on(temporal, FakeShop(), cached_workflows=0) as flow:
            await scenario(flow)
        assert flow.shop.standing() == await standing_after(temporal, scenario)


async def test_rates_are_asked_for_again_and_again(flow: PurchaseFlow) -> None:
    await scenarios.rates_followed(flow)
    assert flow.shop.observed > timedelta(seconds=1) / timedelta(milliseconds=50)


async def test_what_no_webhook_told_is_found_and_taken_back_once(flow: PurchaseFlow) -> None:
    await scenarios.card_reviewed(flow)
    assert flow.shop.standing() == {
        "statuses": ["clawed_back"],
        "counts": {"clawed back": 1, "credited": 1, "intent": 1, "opened": 1},
    }
    assert flow.shop.handled == set(flow.shop.events)
