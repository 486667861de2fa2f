"""The paths that transfers to and from pockets take; see ``tests.support.scenarios``."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowHandle

from domain.payouts import DecisionKind, OperatorAction
from domain.pockets import Route
from domain.workflow_ids import chain_transaction_workflow_id
from tests.support.flows import Flow, until

Handles = dict[str, WorkflowHandle[Any, Any]]
Scenario = Callable[[Flow], Awaitable[Handles]]


async def funded(flow: Flow) -> Handles:
    """Two approvers let money into a pocket, which is made then; it shares batches with payouts."""
    flow.books.approvals_required, flow.books.confirms_by_itself = 2, False
    transfer = await flow.transfer(Route.FUND)
    for approver in ("ann", "ben"):
        await flow.decide(_id_of(transfer), approver)
    await until(lambda: bool(flow.books.pockets))
    await flow.start_batch()
    await _confirm_newest(flow, 1)
    await transfer.result()
    return {"pocket_funded": transfer}


async def funding_rejected(flow: Flow) -> Handles:
    flow.books.approvals_required = 1
    transfer = await flow.transfer(Route.FUND)
    await flow.decide(_id_of(transfer), "ann", DecisionKind.REJECT)
    await transfer.result()
    return {"pocket_funding_rejected": transfer}


async def funding_expired(flow: Flow) -> Handles:
    flow.books.approvals_required = 1
    transfer = await flow.transfer(Route.FUND)
    await flow.environment.fast_forward(transfer, flow.books.approval_lifetime + timedelta(hours=1))
    await transfer.result()
    return {"pocket_funding_expired": transfer}


async def funding_refused(flow: Flow) -> Handles:
    transfer = await flow.transfer(Route.FUND, str(flow.books.available_minor + 1))
    await transfer.result()
    return {"pocket_funding_refused": transfer}


async def redeemed(flow: Flow) -> Handles:
    """A pocket's gas is lent first; when that is there, the pocket pays."""
    flow.books.gas_to_lend, flow.books.confirms_by_itself = 1, False
    transfer = await flow.transfer(Route.REDEEM)
    await _confirm_newest(flow, 1)
    await flow.environment.fast_forward(transfer, timedelta(seconds=20))
    await _confirm_newest(flow, 2)
    await transfer.result()
    return {"pocket_redeemed": transfer}


async def funded_converting(flow: Flow) -> Handles:
    """An approved transfer pays a pocket in another asset; nobody else gets its quote."""
    flow.books.approvals_required, flow.books.confirms_by_itself = 1, False
    quoted = {"asset": "ITD", "to_asset": "ETH", "quote_id": "quo_1"}
    transfer = await flow.transfer(Route.FUND, **quoted)
    second = await flow.transfer(Route.FUND, **quoted)
    await second.result()
    await flow.decide(_id_of(transfer), "ann")
    await until(lambda: bool(flow.books.pockets))
    await flow.start_batch()
    await _confirm_newest(flow, 1)
    await transfer.result()
    return {"pocket_funded_converting": transfer, "pocket_quote_used": second}


async def redeemed_converting(flow: Flow) -> Handles:
    """What a pocket pays comes back as another asset."""
    flow.books.confirms_by_itself = False
    transfer = await flow.transfer(Route.REDEEM, to_asset="ITD", quote_id="quo_1")
    await _confirm_newest(flow, 1)
    await transfer.result()
    return {"pocket_redeemed_converting": transfer}


async def converting_cancelled(flow: Flow) -> Handles:
    """It is taken back while it waits for approval; its quote stays used."""
    flow.books.approvals_required = 1
    quoted = {"asset": "ITD", "to_asset": "ETH", "quote_id": "quo_1"}
    transfer = await flow.transfer(Route.FUND, **quoted)
    await flow.api.cancel(_id_of(transfer))
    await transfer.result()
    return {"pocket_converting_cancelled": transfer}


async def sent(flow: Flow) -> Handles:
    flow.books.confirms_by_itself = False
    transfer = await flow.transfer(Route.SEND)
    await _confirm_newest(flow, 1)
    await transfer.result()
    return {"pocket_sent": transfer}


async def send_cancelled(flow: Flow) -> Handles:
    """It waits for something else of its pocket, and is taken back."""
    flow.books.confirms_by_itself, flow.books.gas_to_lend = False, 1
    transfer = await flow.transfer(Route.SEND)
    await until(lambda: any(b.sent for b in flow.books.batches.values()))
    await flow.api.cancel(_id_of(transfer))
    await transfer.result()
    return {"pocket_send_cancelled": transfer}


async def send_rechecked(flow: Flow) -> Handles:
    """The signal that it is settled is lost; the transfer finds out by itself."""
    flow.books.confirms_by_itself = False
    transfer = await flow.transfer(Route.SEND)
    await until(lambda: len(flow.books.batches) == 1)
    flow.books.payouts[_id_of(transfer)].is_told = True
    await _confirm_newest(flow, 1)
    await flow.environment.fast_forward(transfer, timedelta(minutes=6))
    await transfer.result()
    return {"pocket_send_rechecked": transfer}


async def send_retried(flow: Flow) -> Handles:
    """The signer refuses once; an operator has it tried again, and it settles."""
    flow.books.confirms_by_itself, flow.books.refuses_to_sign = False, True
    transfer = await flow.transfer(Route.SEND)
    await _confirm_newest(flow, 1)
    flow.books.refuses_to_sign = False
    await flow.api.retry(OperatorAction(_id_of(transfer), "usr_operator"))
    await _confirm_newest(flow, 2)
    await transfer.result()
    return {"pocket_send_retried": transfer}


async def send_waited_for_long(flow: Flow) -> Handles:
    """Its user is frozen for so long that the transfer has begun its history anew."""
    flow.books.confirms_by_itself, flow.books.is_held_back = False, True
    transfer = await flow.transfer(Route.SEND)
    first = (await transfer.describe()).run_id

    async def is_renewed() -> bool:
        looks = flow.books.pocket_looks
        await flow.environment.fast_forward(flow.newest(transfer), timedelta(seconds=301))
        await until(lambda: flow.books.pocket_looks > looks)
        return (await flow.newest(transfer).describe()).run_id != first

    await until(lambda: flow.books.pocket_looks > 0)
    while not await is_renewed():
        pass
    flow.books.is_held_back = False
    await flow.environment.fast_forward(flow.newest(transfer), timedelta(seconds=301))
    await _confirm_newest(flow, 1)
    await flow.newest(transfer).result()
    return {"pocket_send_renewed": flow.client.get_workflow_handle(transfer.id, run_id=first)}


SCENARIOS: tuple[Scenario, ...] = (
    funded,
    funding_rejected,
    funding_expired,
    funding_refused,
    redeemed,
    funded_converting,
    redeemed_converting,
    converting_cancelled,
    sent,
    send_cancelled,
    send_rechecked,
    send_retried,
    send_waited_for_long,
)


async def _confirm_newest(flow: Flow, count: int) -> None:
    """Take the newest of so many batches to its end."""
    books = flow.books
    await until(lambda: len(books.batches) == count)
    newest = list(books.batches)[-1]
    await until(lambda: books.batches[newest].sent > 0)
    await flow.confirm()
    workflow_id = chain_transaction_workflow_id(newest)
    await flow.client.get_workflow_handle(workflow_id).result()


def _id_of(transfer: WorkflowHandle[Any, Any]) -> str:
    return transfer.id.partition("/")[2]
