"""
Ids of workflows and names of task queues and signals: what both sides of Temporal must agree on.

A workflow's id is ``{kind}/{resource id}``, so the resource alone finds its history.
"""

from domain.ids import DEPOSIT, PAYOUT

WALLET_QUEUE = "wallet"
SIGNING_QUEUE = "signing"

PAYOUT_FINISHED_SIGNAL = "finished"
BATCH_MOVED_SIGNAL = "moved"
DEPOSIT_MOVED_SIGNAL = "moved"
RUN_MOVED_SIGNAL = "moved"
DEPOSIT_WORKFLOW = "DepositWorkflow"
SWEEP_WORKFLOW = "SweepWorkflow"
SWEEP_NOW_SIGNAL = "sweep_now"
ACCEPT_UPDATE_ID = "accept"
"""Constant, so that a repeated request meets the first one's answer, even after it ended."""


def payout_workflow_id(payout_id: str) -> str:
    """Return the id of a payout's workflow."""
    return f"payout/{payout_id}"


def payout_run_workflow_id(run_id: str) -> str:
    """Return the id of a bulk payout's workflow."""
    return f"payout-run/{run_id}"


def chain_transaction_workflow_id(batch_id: str) -> str:
    """Return the id of the workflow that drives a batch of chain transactions."""
    return f"chain-transaction/{batch_id}"


def deposit_workflow_id(deposit_id: str) -> str:
    """Return the id of a deposit's workflow."""
    return f"deposit/{deposit_id}"


def batcher_workflow_id(chain_id: str, wallet_address: str) -> str:
    """Return the id of the batcher of a hot wallet."""
    return f"payout-batcher/{chain_id}/{wallet_address}"


def watcher_workflow_id(chain_id: str) -> str:
    """Return the id of a chain's watcher."""
    return f"chain-watcher/{chain_id}"


def sweep_workflow_id(chain_id: str) -> str:
    """Return the id of the workflow that sweeps a chain's deposits."""
    return f"sweep/{chain_id}"


def chain_queue(chain_id: str) -> str:
    """Return the task queue of activities that ask this chain's nodes."""
    return f"chain-{chain_id.replace(':', '-')}"


def workflow_of(resource_id: str, *, group_id: str | None = None) -> str | None:
    """Return the workflow that moves an operation, or None for one that needs none."""
    if group_id is not None:
        return payout_run_workflow_id(group_id)
    prefix = resource_id.partition("_")[0]
    by_prefix = {PAYOUT: payout_workflow_id, DEPOSIT: deposit_workflow_id}
    found = by_prefix.get(prefix)
    return None if found is None else found(resource_id)
