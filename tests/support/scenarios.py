"""
The paths that workflows take. Tests judge how each one ends; ``tests.replay.record`` keeps its
history.

Each scenario runs to its end on a flow whose books it may turn first, and returns the workflows
whose histories tell it.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.client import WorkflowHandle

from domain.deposits import DepositStatus
from domain.payouts import DecisionKind, OperatorAction, PayoutStatus
from domain.workflow_ids import chain_transaction_workflow_id
from tests.support import kyc_scenarios, pocket_scenarios
from tests.support.fake_runs import upload
from tests.support.fake_webhooks import RETRY_S
from tests.support.fakes import FakeRun
from tests.support.flows import Flow, events_of, operator_on, until
from workflows.sweep import SweepWorkflow

Handles = dict[str, WorkflowHandle[Any, Any]]
Scenario = Callable[[Flow], Awaitable[Handles]]


async def automatic(flow: Flow) -> Handles:
    payout = await flow.request()
    batch = await _settle(flow)
    await payout.result()
    return {"payout_automatic": payout, "chain_transaction_happy": batch}


async def one_approver(flow: Flow) -> Handles:
    return await _approved(flow, "payout_one_approver", "ann")


async def two_of_three(flow: Flow) -> Handles:
    return await _approved(flow, "payout_two_of_three", "ann", "ben")


async def _approved(flow: Flow, name: str, *approvers: str) -> Handles:
    flow.books.approvals_required = len(approvers)
    payout = await flow.request()
    for approver in approvers:
        await flow.decide(_id_of(payout), approver)
    await _settle(flow)
    await payout.result()
    return {name: payout}


async def rejected(flow: Flow) -> Handles:
    flow.books.approvals_required = 2
    payout = await flow.request()
    await flow.decide(_id_of(payout), "ann")
    await flow.decide(_id_of(payout), "ben", DecisionKind.REJECT)
    await payout.result()
    return {"payout_rejected": payout}


async def cancelled(flow: Flow) -> Handles:
    flow.books.approvals_required = 1
    payout = await flow.request()
    await flow.api.cancel(_id_of(payout))
    await payout.result()
    return {"payout_cancelled": payout}


async def expired(flow: Flow) -> Handles:
    flow.books.approvals_required = 1
    payout = await flow.request()
    await flow.environment.fast_forward(payout, flow.books.approval_lifetime + timedelta(hours=1))
    await payout.result()
    return {"payout_expired": payout}


async def refused(flow: Flow) -> Handles:
    payout = await flow.request(str(flow.books.available_minor + 1))
    await payout.result()
    return {"payout_refused": payout}


async def refunded(flow: Flow) -> Handles:
    """The signer refuses, its nonce is filled, an operator gives the money back."""
    flow.books.refuses_to_sign = True
    payout = await flow.request()
    batch = await _settle(flow)
    await flow.api.refund(OperatorAction(_id_of(payout), "usr_operator"))
    await payout.result()
    return {"payout_refunded": payout, "chain_transaction_refused": batch}


async def retried(flow: Flow) -> Handles:
    """The signer refuses once; an operator has it tried again, and it settles."""
    flow.books.refuses_to_sign = True
    payout = await flow.request()
    await _settle(flow)
    flow.books.refuses_to_sign = False
    await flow.api.retry(OperatorAction(_id_of(payout), "usr_operator"))
    await _settle(flow)
    await payout.result()
    return {"payout_retried": payout}


async def bumped(flow: Flow) -> Handles:
    flow.books.bump_after_s, flow.books.confirms_by_itself = 1, False
    payout = await flow.request()
    batch = await flow.start_batch()
    await until(lambda: any(b.sent == 2 for b in flow.books.batches.values()))
    await flow.confirm()
    await batch.result()
    await payout.result()
    return {"chain_transaction_bumped": batch}


async def rechecked(flow: Flow) -> Handles:
    """The signal that it is settled is lost; the payout finds out by itself."""
    payout = await flow.request()
    flow.books.payouts[_id_of(payout)].status = PayoutStatus.SETTLED
    await flow.environment.fast_forward(payout, timedelta(minutes=61))
    await payout.result()
    return {"payout_rechecked": payout}


async def together(flow: Flow) -> Handles:
    """Batcher and watcher take one payout to its end."""
    batcher, watcher = await flow.start_batcher(), await flow.start_watcher()
    payout = await flow.request()
    await payout.result()
    batch = flow.batch_workflow()
    await batch.result()
    return {"payout": payout, "batch": batch, "batcher": batcher, "watcher": watcher}


async def whole(flow: Flow) -> Handles:
    """Batcher and watcher do all the work, until the batcher has begun its history anew."""
    batcher, watcher = await flow.start_batcher(), await flow.start_watcher()
    await until(lambda: len(flow.books.claim_calls) > 0)
    while (await batcher.describe()).run_id == batcher.first_execution_run_id:
        payout = await flow.request("1")
        await payout.result()
    watcher_run = watcher.first_execution_run_id

    async def is_renewed() -> bool:
        return (await watcher.describe()).run_id != watcher_run

    await until(is_renewed)
    return {
        "batcher": _first_run(flow, batcher),
        "watcher": _first_run(flow, watcher),
    }


async def credited(flow: Flow) -> Handles:
    """A deposit waits for its depth, is credited, and ends."""
    deposit = await flow.arrive()
    run = await flow.deposit_run(deposit)
    await until(lambda: deposit.looks > 0)
    deposit.is_deep = True
    await flow.notifier.deposits_moved([deposit.id])
    await run.result()
    return {"deposit_credited": run}


async def reversed_later(flow: Flow) -> Handles:
    """A deposit that was credited leaves the chain long after: another run takes it back."""
    await credited(flow)
    (deposit,) = flow.books.deposits.values()
    deposit.is_missing = True
    await flow.notifier.deposits_moved([deposit.id])
    run = await flow.deposit_run(deposit)
    await run.result()
    return {"deposit_reversed": run}


async def forgotten(flow: Flow) -> Handles:
    """A deposit leaves the chain before it was credited."""
    deposit = await flow.arrive()
    run = await flow.deposit_run(deposit)
    await until(lambda: deposit.looks > 0)
    deposit.status = DepositStatus.FORGOTTEN
    await flow.notifier.deposits_moved([deposit.id])
    await run.result()
    return {"deposit_forgotten": run}


async def deposit_rechecked(flow: Flow) -> Handles:
    """The signal that it is deep enough is lost; the deposit finds out by itself."""
    deposit = await flow.arrive()
    run = await flow.deposit_run(deposit)
    await until(lambda: deposit.looks > 0)
    deposit.is_deep = True
    await flow.environment.fast_forward(run, timedelta(minutes=61))
    await run.result()
    return {"deposit_rechecked": run}


async def swept(flow: Flow) -> Handles:
    """Deposits are swept by schedule, and at once when somebody says so."""
    books = flow.books
    books.confirms_by_itself, books.worthy = False, 1
    sweeps = await flow.start_sweeps()
    await _settle_sweep(flow, 1)
    planned = len(books.sweep_plans)
    # A sweep that begins while time is skipped would skip through its own patience as well.
    await flow.environment.fast_forward(sweeps, timedelta(minutes=61))
    await until(lambda: len(books.sweep_plans) > planned)
    books.crumbs = 1
    await sweeps.signal(SweepWorkflow.sweep_now)
    await _settle_sweep(flow, 2)
    return {"sweep": sweeps}


async def swept_together(flow: Flow) -> Handles:
    """Deposits of several addresses are swept, all at once."""
    flow.books.confirms_by_itself, flow.books.worthy = False, 3
    sweeps = await flow.start_sweeps()
    await _settle_sweep(flow, 3)
    return {"sweep_together": sweeps}


async def _settle_sweep(flow: Flow, count: int) -> None:
    """Take the newest of so many sweeps to its end."""
    books = flow.books
    await until(lambda: len(books.batches) == count and all(b.sent for b in books.batches.values()))
    await flow.confirm()
    workflow_id = chain_transaction_workflow_id(list(books.batches)[-1])
    await flow.client.get_workflow_handle(workflow_id).result()


async def swept_for_long(flow: Flow) -> Handles:
    """Somebody says so again and again, until the sweeps have begun their history anew."""
    sweeps, books = await flow.start_sweeps(), flow.books
    await until(lambda: len(books.sweep_plans) == 1)
    for told in range(1, 40):
        await sweeps.signal(SweepWorkflow.sweep_now)
        await until(lambda told=told: sum(books.sweep_plans) == told)
    assert (await sweeps.describe()).run_id != sweeps.first_execution_run_id
    return {"sweep_renewed": _first_run(flow, sweeps)}


async def webhook_taken(flow: Flow) -> Handles:
    """An event becomes a delivery, which is taken at the first attempt."""
    flow.books.webhooks.untold = 1
    dispatcher, delivery = await dispatched(flow)
    await delivery.result()
    return {"webhook_taken": delivery, "webhook_dispatcher": dispatcher}


async def webhook_retried(flow: Flow) -> Handles:
    """Two attempts fail, and the third, hours later, is taken."""
    flow.books.webhooks.untold, flow.books.webhooks.refusals = 1, 2
    _, delivery = await dispatched(flow)
    await _past_retries(flow, delivery, 2)
    await delivery.result()
    return {"webhook_retried": delivery}


async def webhook_failed(flow: Flow) -> Handles:
    """Every attempt fails."""
    flow.books.webhooks.untold, flow.books.webhooks.refusals = 1, -1
    _, delivery = await dispatched(flow)
    await _past_retries(flow, delivery, 2)
    await delivery.result()
    return {"webhook_failed": delivery}


async def dispatched(flow: Flow) -> tuple[WorkflowHandle[Any, Any], WorkflowHandle[Any, Any]]:
    """Start the dispatcher, and return it with the workflow of the one delivery that it makes."""
    dispatcher, deliveries = await flow.start_dispatcher(), flow.books.webhooks.deliveries
    await until(lambda: any(d.is_started for d in deliveries.values()))
    (delivery_id,) = deliveries
    return dispatcher, flow.webhook(delivery_id)


async def _past_retries(flow: Flow, delivery: WorkflowHandle[Any, Any], count: int) -> None:
    (row,) = flow.books.webhooks.deliveries.values()
    for attempts in range(1, count + 1):
        await until(lambda attempts=attempts: row.attempts == attempts)
        await until(partial(_is_waiting, delivery))
        await flow.environment.fast_forward(delivery, timedelta(seconds=RETRY_S + 1))


async def _is_waiting(handle: WorkflowHandle[Any, Any]) -> bool:
    events = await events_of(handle)
    return events.count("TIMER_STARTED") > events.count("TIMER_FIRED")


async def run_paid(flow: Flow) -> Handles:
    """Five lines end in three batches; each batch tells their run once."""
    flow.books.batch_size = 2
    run = await flow.run_of(10, 20, 30, 40, 50)
    while any(line.status == PayoutStatus.READY for line in run.lines.values()):
        await _settle(flow)
    return await _finished(flow, "run_paid", run)


async def run_refused(flow: Flow) -> Handles:
    """The money is not there; later it is, and the run is started once more."""
    run = upload(flow.books, flow.books.available_minor, 1)
    await flow.start_run(run, key="too early")
    refused = await flow.execution_of(run)
    await refused.result()
    flow.books.available_minor += 1
    await flow.start_run(run, key="in time")
    await _settle(flow)
    return {"run_refused": refused} | await _finished(flow, "run_started_again", run)


async def run_approved(flow: Flow) -> Handles:
    flow.books.approvals_required = 2
    run = await flow.run_of(10, 20, 30)
    await flow.decide_run(run, "ann")
    await flow.decide_run(run, "ben")
    await _settle(flow)
    return await _finished(flow, "run_approved", run)


async def run_approved_by_lines(flow: Flow) -> Handles:
    """Some lines are paid while others are still being decided on."""
    flow.books.approvals_required = 1
    run = await flow.run_of(10, 20, 30)
    await flow.decide_run(run, "ann", lines="2-3")
    await _settle(flow)
    await flow.decide_run(run, "ann", lines="4", kind=DecisionKind.REJECT)
    return await _finished(flow, "run_approved_by_lines", run)


async def run_rejected(flow: Flow) -> Handles:
    flow.books.approvals_required = 2
    run = await flow.run_of(10, 20)
    await flow.decide_run(run, "ann")
    await flow.decide_run(run, "ben", kind=DecisionKind.REJECT)
    return await _finished(flow, "run_rejected", run)


async def run_cancelled(flow: Flow) -> Handles:
    """Chosen lines are taken back first, then all that is left."""
    run = await flow.run_of(10, 20, 30)
    await flow.cancel_run(run, lines="3")
    await flow.cancel_run(run)
    return await _finished(flow, "run_cancelled", run)


async def run_expired(flow: Flow) -> Handles:
    """What was approved in time is on its way while the rest expires; it is paid later."""
    books = flow.books
    books.approvals_required, books.approval_lifetime = 1, timedelta(minutes=90)
    run = await flow.run_of(10, 20, 30)
    await flow.decide_run(run, "ann", lines="2")
    books.clock.advance(books.approval_lifetime)
    await flow.environment.fast_forward(flow.run(run), timedelta(minutes=95))
    await until(lambda: run.lines[3].status == PayoutStatus.EXPIRED)
    await _settle(flow)
    return await _finished(flow, "run_expired", run)


async def run_mended(flow: Flow) -> Handles:
    """The signer refuses; an operator refunds one line and has the other tried again."""
    flow.books.refuses_to_sign = True
    run = await flow.run_of(10, 20)
    await _settle(flow)
    flow.books.refuses_to_sign = False
    await flow.api.refund(operator_on(run, 2))
    await flow.api.retry(operator_on(run, 3))
    await _settle(flow)
    return await _finished(flow, "run_mended", run)


async def run_rechecked(flow: Flow) -> Handles:
    """The signal that its lines ended is lost; the run finds out by itself."""
    run = await flow.run_of(10)
    await until(lambda: "advance" in flow.books.run_steps)
    run.lines[2].status = PayoutStatus.SETTLED
    await flow.environment.fast_forward(flow.run(run), timedelta(minutes=61))
    return await _finished(flow, "run_rechecked", run)


async def run_for_long(flow: Flow) -> Handles:
    """Batch after batch, until the run has begun its history anew; then it is paid."""
    run = await flow.run_of(10, 20)
    first = await flow.execution_of(run)

    async def is_renewed() -> bool:
        told = flow.books.run_steps.count("advance")
        await flow.notifier.runs_moved([run.id])
        await until(lambda: flow.books.run_steps.count("advance") > told)
        return (await flow.run(run).describe()).run_id != first.run_id

    await until(is_renewed)
    await _settle(flow)
    return {"run_renewed": first} | await _finished(flow, "run_for_long", run)


async def _finished(flow: Flow, name: str, run: FakeRun) -> Handles:
    newest = await flow.execution_of(run)
    await newest.result()
    return {name: newest}


SCENARIOS: tuple[Scenario, ...] = (
    automatic,
    one_approver,
    two_of_three,
    rejected,
    cancelled,
    expired,
    refused,
    refunded,
    retried,
    bumped,
    rechecked,
    whole,
    credited,
    reversed_later,
    forgotten,
    deposit_rechecked,
    swept,
    swept_for_long,
    swept_together,
    webhook_taken,
    webhook_retried,
    webhook_failed,
    run_paid,
    run_refused,
    run_approved,
    run_approved_by_lines,
    run_rejected,
    run_cancelled,
    run_expired,
    run_mended,
    run_rechecked,
    run_for_long,
    *kyc_scenarios.SCENARIOS,
    *pocket_scenarios.SCENARIOS,
)


async def _settle(flow: Flow) -> WorkflowHandle[Any, Any]:
    """Take what is ready through a batch of its own, to its end."""
    flow.books.confirms_by_itself = False
    batch = await flow.start_batch()
    batch_id = list(flow.books.batches)[-1]
    await until(lambda: flow.books.batches[batch_id].sent > 0)
    await flow.confirm()
    await batch.result()
    return batch


def _first_run(flow: Flow, handle: WorkflowHandle[Any, Any]) -> WorkflowHandle[Any, Any]:
    return flow.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)


def _id_of(payout: WorkflowHandle[Any, Any]) -> str:
    return payout.id.partition("/")[2]
