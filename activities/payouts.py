"""Activities of one payout: each is one unit of work on the database, run as a local activity."""

from temporalio import activity

from activities.failures import tried_for_ever
from domain.payouts import (
    Acceptance,
    Decision,
    DecisionOutcome,
    OperatorAction,
    PayoutOutcome,
    PayoutRequest,
)
from domain.ports import OutgoingLog, PayoutDesk


class PayoutActivities:
    """Freeze, decide, cancel, expire; and an operator's refund or retry."""

    def __init__(self, desk: PayoutDesk, log: OutgoingLog) -> None:
        """Take the collaborators that write to the database."""
        self._desk = desk
        self._log = log

    @activity.defn(name="payout.freeze")
    async def freeze(self, request: PayoutRequest) -> Acceptance:
        """Hold amount plus fee, or say why not; a repeat answers the same."""
        return await self._desk.freeze(request)

    @activity.defn(name="payout.decide")
    async def decide(self, decision: Decision) -> DecisionOutcome:
        """Record an approver's decision; the same decision id counts once."""
        return await self._desk.decide(decision)

    @activity.defn(name="payout.cancel")
    async def cancel(self, payout_id: str) -> PayoutOutcome:
        """Release the hold if no batch has the payout yet."""
        return await self._desk.cancel(payout_id)

    @activity.defn(name="payout.expire")
    async def expire(self, payout_id: str) -> PayoutOutcome:
        """Release the hold if approvals are still missing."""
        return await tried_for_ever(self._desk.expire(payout_id))

    @activity.defn(name="payout.outcome")
    async def outcome(self, payout_id: str) -> PayoutOutcome:
        """Return where the payout stands."""
        return await tried_for_ever(self._desk.outcome(payout_id))

    @activity.defn(name="payout.refund_unsigned")
    async def refund_unsigned(self, action: OperatorAction) -> PayoutOutcome:
        """Refund a payout that no signature exists for."""
        return await self._log.refund(action)

    @activity.defn(name="payout.retry_abandoned")
    async def retry_abandoned(self, action: OperatorAction) -> PayoutOutcome:
        """Make a payout ready again whose chain transaction was given up."""
        return await self._log.retry(action)
