"""The workflows that never end: the batcher of a hot wallet and the watcher of a chain."""

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.workflow_ids import WALLET_QUEUE, chain_transaction_workflow_id
from tests.support import scenarios
from tests.support.crashing import CrashAfter
from tests.support.fakes import Books, FakeOutgoingLog
from tests.support.flows import CHAIN_ID, Flow, events_of, flow_on, until
from workflows.chain_transaction import ChainTransactionInput, ChainTransactionWorkflow


class TestBatcher:
    async def test_takes_payouts_to_their_end_with_the_watcher(self, flow: Flow) -> None:
        await scenarios.together(flow)

        assert len(flow.books.batches) == 1

    async def test_claims_with_the_same_key_after_a_lost_answer(
        self, temporal: WorkflowEnvironment
    ) -> None:
        crash = CrashAfter("outgoing.await_batch")
        async with flow_on(temporal, Books(), crash) as flow:
            payout = await flow.request()
            await flow.start_batcher()
            await flow.start_watcher()
            await payout.result()

        assert crash.crashes == 1
        assert len(flow.books.batches) == 1
        first, second = flow.books.claim_calls[:2]
        assert first == second

    async def test_claims_with_another_key_each_time(self, flow: Flow) -> None:
        await flow.start_batcher()
        await until(lambda: len(set(flow.books.claim_calls)) >= 3)

    async def test_tolerates_a_batch_that_is_on_its_way_already(
        self, temporal: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow = Flow(temporal, Books())
        async with flow.working():
            payout = await flow.request()
        batch_id = await FakeOutgoingLog(flow.books).claim(
            chain_id=CHAIN_ID, wallet_address="", claim_key="before the crash"
        )
        assert batch_id is not None
        flow.books.claims.clear()
        original = FakeOutgoingLog.claim
        answers = iter([batch_id])

        async def claim_again(
            log: FakeOutgoingLog, *, chain_id: str, wallet_address: str, claim_key: str
        ) -> str | None:
            known = next(answers, None)
            return known or await original(
                log, chain_id=chain_id, wallet_address=wallet_address, claim_key=claim_key
            )

        await temporal.client.start_workflow(
            ChainTransactionWorkflow.run,
            ChainTransactionInput(batch_id, CHAIN_ID),
            id=chain_transaction_workflow_id(batch_id),
            task_queue=WALLET_QUEUE,
        )
        monkeypatch.setattr(FakeOutgoingLog, "claim", claim_again)
        async with flow.working():
            batcher = await flow.start_batcher()
            await flow.start_watcher()
            await payout.result()
            second = await flow.request()
            await second.result()
            await flow.clean_up()

        history = await events_of(batcher)
        assert "START_CHILD_WORKFLOW_EXECUTION_FAILED" in history
        assert flow.books.nonces_given == 2

    async def test_and_watcher_begin_new_histories(self, flow: Flow) -> None:
        handles = await scenarios.whole(flow)

        for name in ("batcher", "watcher"):
            assert (await events_of(handles[name]))[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
        settled = [payout.status for payout in flow.books.payouts.values()]
        assert set(settled) == {"settled"}
        assert flow.books.nonces_given == len(flow.books.batches)


class TestWatcher:
    async def test_tells_batches_that_something_moved(self, flow: Flow) -> None:
        await flow.start_watcher()
        payout = await flow.request()
        batch = await flow.start_batch()

        await batch.result()

        assert (await payout.result()).status == "settled"
