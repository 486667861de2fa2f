"""Workflows that began under an earlier version of the code must go on under this one."""

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.replay.changed_kyc import CarelessKyc
from tests.replay.changed_runs import HastyRun, HesitatingRun
from tests.replay.record import HISTORIES
from tests.support.changed_workflows import (
    ForgetfulSweep,
    HastyMix,
    HastyPocketTransfer,
    HastyPurchase,
    HastyWebhook,
    HesitatingDeposit,
    HesitatingPayout,
    ReorderedChainTransaction,
)
from worker import WORKFLOWS, sandbox

PATHS = {
    "batcher",
    "card_review",
    "chain_transaction_bumped",
    "chain_transaction_happy",
    "chain_transaction_refused",
    "deposit_credited",
    "deposit_forgotten",
    "deposit_rechecked",
    "deposit_of_mix",
    "deposit_of_purchase",
    "deposit_reversed",
    "kyc_approved",
    "kyc_expired",
    "kyc_lapsed",
    "kyc_rejected",
    "kyc_revoked",
    "kyc_revoked_later",
    "kyc_withdrawn",
    "gateway_event",
    "mix_cancelled",
    "mix_done",
    "mix_expired",
    "mix_held",
    "mix_late",
    "mix_paused",
    "mix_refused",
    "mix_settled_later",
    "mixer_check",
    "payout_automatic",
    "payout_cancelled",
    "payout_expired",
    "payout_one_approver",
    "payout_rechecked",
    "payout_refunded",
    "payout_refused",
    "payout_rejected",
    "payout_retried",
    "payout_two_of_three",
    "pocket_converting_cancelled",
    "pocket_funded",
    "pocket_funded_converting",
    "pocket_funding_expired",
    "pocket_funding_refused",
    "pocket_funding_rejected",
    "pocket_quote_used",
    "pocket_redeemed",
    "pocket_redeemed_converting",
    "pocket_send_cancelled",
    "pocket_send_rechecked",
    "pocket_send_renewed",
    "pocket_send_retried",
    "pocket_sent",
    "purchase_card",
    "purchase_card_expired",
    "purchase_card_rechecked",
    "purchase_cancelled",
    "purchase_chain",
    "purchase_clawed_back",
    "purchase_refunded",
    "purchase_refused",
    "purchase_reversed",
    "rates",
    "run_approved",
    "run_approved_by_lines",
    "run_cancelled",
    "run_expired",
    "run_for_long",
    "run_mended",
    "run_paid",
    "run_rechecked",
    "run_refused",
    "run_rejected",
    "run_renewed",
    "run_started_again",
    "sweep",
    "sweep_renewed",
    "watcher",
    "webhook_dispatcher",
    "webhook_failed",
    "webhook_retried",
    "webhook_taken",
}


def history(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(name, (HISTORIES / f"{name}.json").read_text())


def replayer(*workflows: type) -> Replayer:
    return Replayer(workflows=workflows, workflow_runner=sandbox())


class TestReplay:
    def test_knows_every_path(self) -> None:
        assert {file.stem for file in HISTORIES.glob("*.json")} >= PATHS

    @pytest.mark.parametrize("path", sorted(file.stem for file in HISTORIES.glob("*.json")))
    async def test_follows_what_was_recorded(self, path: str) -> None:
        await replayer(*WORKFLOWS).replay_workflow(history(path))

    @pytest.mark.parametrize(
        ("changed", "path"),
        [
            (ReorderedChainTransaction, "chain_transaction_happy"),
            (HesitatingPayout, "payout_automatic"),
            (HesitatingDeposit, "deposit_credited"),
            (ForgetfulSweep, "sweep"),
            (HastyWebhook, "webhook_retried"),
            (HastyPurchase, "purchase_card"),
            (HastyMix, "mix_done"),
            (HesitatingRun, "run_paid"),
            (HastyRun, "run_expired"),
            (CarelessKyc, "kyc_expired"),
            (HastyPocketTransfer, "pocket_redeemed"),
        ],
    )
    async def test_notices_a_workflow_that_was_changed(self, changed: type, path: str) -> None:
        with pytest.raises(NondeterminismError):
            await replayer(changed).replay_workflow(history(path))
