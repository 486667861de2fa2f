from datetime import timedelta

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from domain.payouts import PayoutStatus
from domain.workflow_ids import WALLET_QUEUE, chain_transaction_workflow_id
from tests.support import scenarios
from tests.support.fakes import Books, FakeBatch, FakeOutgoingLog
from tests.support.flows import CHAIN_ID, WALLET_ADDRESS, Flow, events_of, until
from tests.support.temporal import CONTINUE_AS_NEW_AFTER_EVENTS
from workflows.chain_transaction import (
    CEILING_RETRY,
    ChainTransactionInput,
    ChainTransactionWorkflow,
)

Batch = WorkflowHandle[ChainTransactionWorkflow, None]


async def started(flow: Flow) -> tuple[Batch, FakeBatch]:
    """Start a batch of one payout that nothing confirms yet."""
    flow.books.confirms_by_itself = False
    await flow.request()
    handle = await flow.start_batch()
    (batch,) = flow.books.batches.values()
    return handle, batch


async def finished(flow: Flow, handle: Batch, batch: FakeBatch) -> None:
    await until(lambda: batch.sent > 0)
    await flow.confirm()
    await handle.result()


def statuses(flow: Flow) -> list[PayoutStatus]:
    return [payout.status for payout in flow.books.payouts.values()]


class TestChainTransaction:
    async def test_allocates_signs_sends_and_settles(self, flow: Flow) -> None:
        handle, batch = await started(flow)
        await finished(flow, handle, batch)

        assert (batch.account_nonce, batch.signed, batch.sent) == (0, 1, 1)
        assert statuses(flow) == [PayoutStatus.SETTLED]
        assert all(payout.is_told for payout in flow.books.payouts.values())

    async def test_fills_the_nonce_of_what_the_signer_refuses(self, flow: Flow) -> None:
        flow.books.refuses_to_sign = True
        handle, batch = await started(flow)
        await finished(flow, handle, batch)

        assert (batch.is_filler, batch.is_mined) == (True, True)
        assert statuses(flow) == [PayoutStatus.BATCHED]

    async def test_waits_while_no_fee_can_be_planned(self, flow: Flow) -> None:
        flow.books.fee_rounds = 2
        handle, batch = await started(flow)
        await finished(flow, handle, batch)

        assert statuses(flow) == [PayoutStatus.SETTLED]

    async def test_asks_the_signer_again_when_its_ceiling_moved(self, flow: Flow) -> None:
        flow.books.ceiling_rounds = 1
        handle, batch = await started(flow)
        await until(lambda: flow.books.ceiling_rounds == 0)
        assert batch.signed == 0

        await flow.environment.fast_forward(handle, CEILING_RETRY + timedelta(seconds=1))
        await finished(flow, handle, batch)

        assert statuses(flow) == [PayoutStatus.SETTLED]

    async def test_sends_again_after_the_node_was_away(self, flow: Flow) -> None:
        flow.books.broadcast_failures = 2
        handle, batch = await started(flow)
        await finished(flow, handle, batch)

        assert batch.attempts == 1

    async def test_goes_on_when_a_node_will_not_take_it(self, flow: Flow) -> None:
        flow.books.node_rejections = 1
        handle, batch = await started(flow)
        await until(lambda: flow.books.node_rejections == 0)

        # The watcher offers stored bytes again and again.
        await flow.chain.broadcast(batch.id)
        await finished(flow, handle, batch)

        assert statuses(flow) == [PayoutStatus.SETTLED]

    async def test_replaces_what_is_stuck(self, flow: Flow) -> None:
        handle, batch = await started(flow)
        await until(lambda: batch.sent == 1)

        await flow.environment.fast_forward(handle, flow.books.bump_after_s + 1)
        await until(lambda: batch.sent == 2)
        await finished(flow, handle, batch)

        assert flow.books.nonces_given == 1
        assert statuses(flow) == [PayoutStatus.SETTLED]

    async def test_replaces_nothing_before_its_time(self, flow: Flow) -> None:
        handle, batch = await started(flow)
        await until(lambda: batch.sent == 1)

        await flow.environment.fast_forward(handle, flow.books.bump_after_s - 60)
        await finished(flow, handle, batch)

        assert batch.attempts == 1

    async def test_hears_of_a_block_before_it_runs(self, temporal: WorkflowEnvironment) -> None:
        flow = Flow(temporal, Books())
        async with flow.working():
            await flow.request()
        log = FakeOutgoingLog(flow.books)
        batch_id = await log.claim(
            chain_id=CHAIN_ID, wallet_address=WALLET_ADDRESS, claim_key="claim"
        )
        assert batch_id is not None
        batch = flow.books.batches[batch_id]
        # Everything is on the chain already: an earlier run got that far.
        batch.is_prepared, batch.account_nonce, batch.is_mined = True, 0, True
        batch.attempts = batch.signed = batch.sent = 1
        handle = await temporal.client.start_workflow(
            ChainTransactionWorkflow.run,
            ChainTransactionInput(batch_id, CHAIN_ID, is_allocated=True),
            id=chain_transaction_workflow_id(batch_id),
            task_queue=WALLET_QUEUE,
            start_signal="moved",
        )
        async with flow.working():
            await handle.result()

        assert statuses(flow) == [PayoutStatus.SETTLED]

    async def test_begins_a_new_history_without_allocating_again(self, flow: Flow) -> None:
        handle, batch = await started(flow)
        await until(lambda: batch.sent == 1)

        for _ in range(CONTINUE_AS_NEW_AFTER_EVENTS):
            latest = flow.batch_workflow()
            if (await latest.describe()).run_id != handle.first_execution_run_id:
                break
            await latest.signal(ChainTransactionWorkflow.moved)
        else:
            pytest.fail("the history grew and grew")
        await finished(flow, flow.batch_workflow(), batch)

        assert flow.books.nonces_given == 1
        assert statuses(flow) == [PayoutStatus.SETTLED]
        first = flow.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
        assert (await events_of(first))[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"

    async def test_pays_everything_that_was_claimed_together(self, flow: Flow) -> None:
        flow.books.confirms_by_itself = False
        payouts = [await flow.request("10") for _ in range(5)]
        handle = await flow.start_batch()
        (batch,) = flow.books.batches.values()
        await finished(flow, handle, batch)

        outcomes = [await payout.result() for payout in payouts]
        assert {outcome.status for outcome in outcomes} == {PayoutStatus.SETTLED}


class TestRefusedScenario:
    async def test_leaves_the_payout_to_an_operator(self, flow: Flow) -> None:
        handles = await scenarios.refunded(flow)

        assert "WORKFLOW_EXECUTION_COMPLETED" in await events_of(
            handles["chain_transaction_refused"]
        )
