"""
Ids of workflows and names of task queues and signals: what both sides of Temporal must agree on.

A workflow's id is ``{kind}/{resource id}``, so the resource alone finds its history.
"""

WALLET_QUEUE = "wallet"
SIGNING_QUEUE = "signing"

PAYOUT_FINISHED_SIGNAL = "finished"
BATCH_MOVED_SIGNAL = "moved"
DEPOSIT_MOVED_SIGNAL = "moved"
RUN_MOVED_SIGNAL = "moved"
DEPOSIT_WORKFLOW = "DepositWorkflow"
KYC_WORKFLOW = "KycApplicationWorkflow"
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


def kyc_workflow_id(application_id: str) -> str:
    """Return the id of a KYC application's workflow."""
    return f"kyc/{application_id}"


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
