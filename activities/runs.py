"""Activities on bulk payouts: each is one unit of work and may be repeated."""

from temporalio import activity

from activities.failures import tried_for_ever
from domain.payouts import OperatorAction, PayoutOutcome
from domain.ports import OutgoingLog, RunDesk
from domain.runs import RunAcceptance, RunCancellation, RunDecisionRequest, RunStanding, RunStart


class RunActivities:
    """The steps of a bulk payout."""

    def __init__(self, desk: RunDesk, log: OutgoingLog) -> None:
        """Take the desk, and the log for an operator's hand on single lines."""
        self._desk = desk
        self._log = log

    @activity.defn(name="run.start")
    async def start(self, request: RunStart) -> RunAcceptance:
        """Check every line again and hold the total; or refuse it."""
        return await self._desk.start(request)

    @activity.defn(name="run.decide")
    async def decide(self, decision: RunDecisionRequest) -> RunStanding:
        """Record an approver's decision."""
        return await self._desk.decide(decision)

    @activity.defn(name="run.cancel")
    async def cancel(self, cancellation: RunCancellation) -> RunStanding:
        """Give back what no batch has taken."""
        return await self._desk.cancel(cancellation)

    @activity.defn(name="run.expire")
    async def expire(self, run_id: str) -> RunStanding:
        """Give back what nobody decided on in time."""
        return await tried_for_ever(self._desk.expire(run_id))

    @activity.defn(name="run.advance")
    async def advance(self, run_id: str) -> RunStanding:
        """Finish the run if every line has ended."""
        return await tried_for_ever(self._desk.advance(run_id))

    @activity.defn(name="run.refund_line")
    async def refund_line(self, action: OperatorAction) -> PayoutOutcome:
        """Refund a line that is stuck before it was signed."""
        return await self._log.refund(action)

    @activity.defn(name="run.retry_line")
    async def retry_line(self, action: OperatorAction) -> PayoutOutcome:
        """Put a line whose chain transaction was given up into another batch."""
        return await self._log.retry(action)
