"""
Ids of workflows and names of task queues and signals: what both sides of Temporal must agree on.

A workflow's id is ``{kind}/{resource id}``, so the resource alone finds its history.
"""

from domain.ids import DEPOSIT, PAYOUT, PAYOUT_RUN, POCKET_TRANSFER, PURCHASE

WALLET_QUEUE = "wallet"
SIGNING_QUEUE = "signing"
GATEWAYS_QUEUE = "gateways"
"""Card payments, and other services beneath us that are no chain."""
"""Whatever is neither ours nor a chain: receivers of webhooks, among others."""

PAYOUT_FINISHED_SIGNAL = "finished"
BATCH_MOVED_SIGNAL = "moved"
DEPOSIT_MOVED_SIGNAL = "moved"
RUN_MOVED_SIGNAL = "moved"
DEPOSIT_WORKFLOW = "DepositWorkflow"
PURCHASE_MOVED_SIGNAL = "moved"
PURCHASE_WORKFLOW = "PurchaseWorkflow"
RATES_WORKFLOW_ID = "rates"
CARD_REVIEW_ID = "card-review"
KYC_WORKFLOW = "KycApplicationWorkflow"
SWEEP_WORKFLOW = "SweepWorkflow"
POCKET_TRANSFER_WORKFLOW = "PocketTransferWorkflow"
MIX_MOVED_SIGNAL = "moved"
MIX_WORKFLOW = "MixWorkflow"
MIXER_CHECK_ID = "mixer-check"
MIXER_QUEUES = "mixer-"
"""How the task queues of mixers begin."""
WEBHOOK_DELIVERY_WORKFLOW = "WebhookDeliveryWorkflow"
WEBHOOK_DISPATCHER_ID = "webhook-dispatcher"
SWEEP_NOW_SIGNAL = "sweep_now"
ACCEPT_UPDATE_ID = "accept"
"""Constant, so that a repeated request meets the first one's answer, even after it ended."""


def payout_workflow_id(payout_id: str) -> str:
    """Return the id of a payout's workflow; a transfer to or from a pocket is a payout as well."""
    kind = "pocket-transfer" if payout_id.startswith(f"{POCKET_TRANSFER}_") else "payout"
    return f"{kind}/{payout_id}"


def payout_run_workflow_id(run_id: str) -> str:
    """Return the id of a bulk payout's workflow."""
    return f"payout-run/{run_id}"


def chain_transaction_workflow_id(batch_id: str) -> str:
    """Return the id of the workflow that drives a batch of chain transactions."""
    return f"chain-transaction/{batch_id}"


def deposit_workflow_id(deposit_id: str) -> str:
    """Return the id of a deposit's workflow."""
    return f"deposit/{deposit_id}"


def purchase_workflow_id(purchase_id: str) -> str:
    """Return the id of a purchase's workflow."""
    return f"purchase/{purchase_id}"


def mix_workflow_id(mix_id: str) -> str:
    """Return the id of a mix's workflow."""
    return f"mix/{mix_id}"


def mixer_queue(mixer_id: str) -> str:
    """Return the task queue of one mixer's mixes."""
    return f"{MIXER_QUEUES}{mixer_id}"


def gateway_event_workflow_id(event_id: str) -> str:
    """Return the id of the workflow that takes an event of the gateway to its purchase."""
    return f"gateway-event/{event_id}"


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


def webhook_delivery_workflow_id(delivery_id: str) -> str:
    """Return the id of the workflow that sends one webhook until it is taken."""
    return f"webhook-delivery/{delivery_id}"


def chain_queue(chain_id: str) -> str:
    """Return the task queue of activities that ask this chain's nodes."""
    return f"chain-{chain_id.replace(':', '-')}"


def workflow_of(resource_id: str, *, group_id: str | None = None) -> str | None:
    """Return the workflow that moves an operation, or None for one that needs none."""
    if group_id is not None and group_id.startswith(f"{PAYOUT_RUN}_"):
        return payout_run_workflow_id(group_id)
    by_prefix = {
        PAYOUT: payout_workflow_id,
        POCKET_TRANSFER: payout_workflow_id,
        DEPOSIT: deposit_workflow_id,
        PURCHASE: purchase_workflow_id,
    }
    found = by_prefix.get(resource_id.partition("_")[0])
    return None if found is None else found(resource_id)
