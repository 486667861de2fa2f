"""Ending what a machine has begun: everybody alive, and everything to its end."""

from typing import override

from domain.ids import DECISION, derived_id
from domain.payouts import OPEN_STATUSES, Decision, DecisionKind, OperatorAction, PayoutStatus
from domain.runs import RunDecisionRequest, RunStatus
from models.chain_transactions import ChainTransactionStatus
from tests.integration.runs.chain_rules import NO_TROUBLE, ChainRules
from tests.integration.runs.facts import Facts
from tests.integration.runs.promises import check_rest
from tests.support.books import APPROVERS

ROUNDS_MAX = 20
BATCH_SIZE = 50
"""Enough for all that is left in one batch."""


class InterleavingMachine(ChainRules):
    """All rules, and the rest that they must come to in the end."""

    @override
    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        try:
            if hasattr(self, "runs"):
                self.come_to_rest()
        finally:
            self.wait(self.stack.aclose())
            self.loop.close()

    def come_to_rest(self) -> None:
        self.meet(NO_TROUBLE)
        self.wait(self.set_chain("batch_size", BATCH_SIZE))
        for _ in range(ROUNDS_MAX):
            facts = self.facts()
            self.approve(facts)
            self.help_what_is_stuck(facts)
            self.go_on()
            self.keeps_its_promises()
            if self.is_at_rest():
                break
        else:
            left = [(p.id, p.status) for p in self.facts().payouts if p.status in OPEN_STATUSES]
            raise AssertionError(f"{left} do not end, nor {[b.next for b in self.batches]}")
        check_rest(self.facts(), self.chain, is_settled_final=self.is_settled_final)
        for run_id in self.run_ids:
            standing = self.wait(self.runs.desk.advance(run_id))
            assert standing.status in (RunStatus.DRAFT, RunStatus.FINISHED)

    def go_on(self) -> None:
        """Let every batch come as far as it can, and let blocks take what they send."""
        self.live(self.claim())
        for batch in self.on_their_way:
            self.live(batch.go_on(is_moved=False))
        self.books.wait(61)
        self.live(self.books.watch.watch_once())
        self.chain.mine(self.confirmations + 1)
        self.live(self.books.watch.watch_once())

    def is_at_rest(self) -> bool:
        facts = self.facts()
        return (
            not any(payout.status in OPEN_STATUSES for payout in facts.payouts)
            and not self.on_their_way
            and all(row.status in ENDED for row in facts.transactions)
        )

    def approve(self, facts: Facts) -> None:
        waiting = [p for p in facts.payouts if p.status == PayoutStatus.AWAITING_APPROVAL]
        kind = DecisionKind.APPROVE
        for approver in APPROVERS:
            for run_id in sorted({p.run_id for p in waiting if p.run_id}):
                key = derived_id(DECISION, run_id, approver, "end")
                decision = RunDecisionRequest(key, run_id, approver, kind, "totp")
                self.live(self.runs.desk.decide(decision))
            for payout_id in [p.id for p in waiting if not p.run_id]:
                key = derived_id(DECISION, payout_id, approver, "end")
                self.live(self.books.desk.decide(Decision(key, payout_id, approver, kind, "totp")))
        # Who decided on some lines before cannot decide on all of them; those expire.
        if waiting:
            self.books.wait(86_401)
            for run_id in self.run_ids:
                self.live(self.runs.desk.expire(run_id))
            for payout in waiting:
                if payout.run_id is None:
                    self.live(self.books.desk.expire(payout.id))

    def help_what_is_stuck(self, facts: Facts) -> None:
        """Let an operator retry what its transaction was given up under."""
        given_up = {r.id for r in facts.transactions if r.status == ABANDONED}
        for payout in facts.payouts:
            if payout.status == PayoutStatus.BATCHED and payout.chain_transaction_id in given_up:
                self.live(self.books.log.retry(OperatorAction(payout.id, "op")))


ABANDONED = ChainTransactionStatus.ABANDONED
ENDED = (ABANDONED, ChainTransactionStatus.CONFIRMED, ChainTransactionStatus.REVERTED)
