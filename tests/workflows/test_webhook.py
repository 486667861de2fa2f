"""Webhooks as workflows: each delivery once, tried again after hours, by one dispatcher."""

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.webhooks import DeliveryStatus
from tests.support import scenarios
from tests.support.crashing import CrashAfter
from tests.support.fake_webhooks import FakeDelivery
from tests.support.fakes import Books
from tests.support.flows import Flow, events_of, flow_on, until


class TestDelivery:
    async def test_ends_when_it_is_taken(self, flow: Flow) -> None:
        handles = await scenarios.webhook_taken(flow)

        standing = await handles["webhook_taken"].result()
        assert (standing.status, standing.attempts) == (DeliveryStatus.DELIVERED, 1)

    async def test_is_tried_again_after_as_long_as_the_attempt_said(self, flow: Flow) -> None:
        handles = await scenarios.webhook_retried(flow)

        standing = await handles["webhook_retried"].result()
        assert (standing.status, standing.attempts) == (DeliveryStatus.DELIVERED, 3)

    async def test_ends_when_no_attempt_is_left(self, flow: Flow) -> None:
        handles = await scenarios.webhook_failed(flow)

        standing = await handles["webhook_failed"].result()
        assert (standing.status, standing.attempts) == (DeliveryStatus.FAILED, 3)

    async def test_waits_no_shorter(self, flow: Flow) -> None:
        flow.books.webhooks.untold, flow.books.webhooks.refusals = 1, 1
        _, delivery = await scenarios.dispatched(flow)
        (row,) = flow.books.webhooks.deliveries.values()
        await until(lambda: row.attempts == 1)
        await flow.environment.fast_forward(delivery, timedelta(minutes=59))
        assert row.attempts == 1
        await flow.environment.fast_forward(delivery, timedelta(minutes=2))
        await until(lambda: row.status == DeliveryStatus.DELIVERED)


class TestDispatcher:
    async def test_starts_every_delivery_once(self, flow: Flow) -> None:
        flow.books.webhooks.untold = 150
        await flow.start_dispatcher()
        rows = flow.books.webhooks.deliveries
        await until(lambda: len(rows) == 150 and all(d.is_started for d in rows.values()))
        await until(lambda: all(d.status == DeliveryStatus.DELIVERED for d in rows.values()))

        assert {d.attempts for d in rows.values()} == {1}
        for delivery_id in rows:
            flow.webhook(delivery_id)

    async def test_starts_none_again_that_was_started_and_not_noted(self, flow: Flow) -> None:
        """Whoever started it died before they noted it; it may have ended since."""
        delivery = FakeDelivery("whd_1")
        flow.books.webhooks.deliveries[delivery.id] = delivery
        await flow.notifier.webhooks_due([delivery.id])
        await flow.webhook(delivery.id).result()
        await flow.start_dispatcher()
        await until(lambda: delivery.is_started)

        assert delivery.attempts == 1
        assert (await flow.webhook(delivery.id).describe()).status is not None

    @pytest.mark.parametrize("step", ["webhook.dispatch", "webhook.attempt"])
    async def test_sends_nothing_twice_where_a_worker_dies(
        self, temporal: WorkflowEnvironment, step: str
    ) -> None:
        crash = CrashAfter(step)
        async with flow_on(temporal, Books(), crash) as flow:
            await scenarios.webhook_taken(flow)
            await until(lambda: crash.crashes == 1)
            (row,) = flow.books.webhooks.deliveries.values()

        # The fake takes what was sent before for sent, as receivers do by the id.
        assert (row.status, row.attempts) == (DeliveryStatus.DELIVERED, 1)

    async def test_begins_new_histories(self, flow: Flow) -> None:
        dispatcher = await flow.start_dispatcher()

        async def is_renewed() -> bool:
            newest = await flow.client.get_workflow_handle(dispatcher.id).describe()
            return newest.run_id != dispatcher.first_execution_run_id

        await until(is_renewed)
        first = flow.client.get_workflow_handle(
            dispatcher.id, run_id=dispatcher.first_execution_run_id
        )
        assert (await events_of(first))[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
