"""What approvers, customers and operators can ask for about a payout or the lines of a run."""

from domain.ids import DECISION, new_id
from domain.payouts import Decision, DecisionKind, OperatorAction
from domain.runs import RunCancellation, RunDecisionRequest
from models.payouts import Payout
from tests.integration.runs.interleaved import InterleavedMachine, Request

AGAIN = "again"
HANDS = ("approve", "approve", "reject", "cancel", "refund", "retry", AGAIN, AGAIN)


class Hands(InterleavedMachine):
    """Each makes a request that may be repeated word by word."""

    def _approve(self, payout: Payout, approver: str, lines: str | None) -> Request:
        return self._decide(payout, approver, lines, kind=DecisionKind.APPROVE)

    def _reject(self, payout: Payout, approver: str, lines: str | None) -> Request:
        return self._decide(payout, approver, lines, kind=DecisionKind.REJECT)

    def _decide(
        self, payout: Payout, approver: str, lines: str | None, *, kind: DecisionKind
    ) -> Request:
        decision_id = new_id(DECISION)
        if payout.run_id is None:
            single = Decision(decision_id, payout.id, approver, kind, "totp")
            return lambda: self.books.desk.decide(single)
        of_run = RunDecisionRequest(decision_id, payout.run_id, approver, kind, "totp", lines)
        return lambda: self.runs.desk.decide(of_run)

    def _cancel(self, payout: Payout, _approver: str, lines: str | None) -> Request:
        if payout.run_id is None:
            return lambda: self.books.desk.cancel(payout.id)
        cancellation = RunCancellation(new_id("act"), payout.run_id, lines)
        return lambda: self.runs.desk.cancel(cancellation)

    def _refund(self, payout: Payout, _approver: str, _lines: str | None) -> Request:
        return lambda: self.books.log.refund(OperatorAction(payout.id, "op"))

    def _retry(self, payout: Payout, _approver: str, _lines: str | None) -> Request:
        return lambda: self.books.log.retry(OperatorAction(payout.id, "op"))
