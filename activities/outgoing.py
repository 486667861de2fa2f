"""Activities on the write-ahead log: claim a batch, allocate, settle, and tell the payouts."""

from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity

from activities.watching import rounds
from domain.notifying import WorkflowNotifier
from domain.ports import OutgoingLog, SettleOutcome

CLAIM_INTERVAL = timedelta(milliseconds=250)


@dataclass(frozen=True)
class ClaimInput:
    """Whose payouts to claim; the same key answers the same batch."""

    chain_id: str
    wallet_address: str
    claim_key: str


class OutgoingActivities:
    """Everything between an approved payout and its chain transaction, and back."""

    def __init__(self, log: OutgoingLog, notifier: WorkflowNotifier) -> None:
        """Take the log and the way to reach other workflows."""
        self._log = log
        self._notifier = notifier

    @activity.defn(name="outgoing.await_batch")
    async def await_batch(self, request: ClaimInput) -> str | None:
        """Wait for ready payouts, claim them, and return the batch; None after a quiet round."""
        async for _ in rounds(CLAIM_INTERVAL):
            batch_id = await self._log.claim(
                chain_id=request.chain_id,
                wallet_address=request.wallet_address,
                claim_key=request.claim_key,
            )
            if batch_id is not None:
                return batch_id
        return None

    @activity.defn(name="outgoing.allocate")
    async def allocate(self, batch_id: str) -> bool:
        """Give the batch its places on the chain, capture the holds; False to plan it again."""
        return await self._log.allocate(batch_id)

    @activity.defn(name="outgoing.give_up_refused")
    async def give_up_refused(self, batch_id: str) -> int:
        """Replace refused transactions by fillers; return how many await signing."""
        return await self._log.give_up_refused(batch_id)

    @activity.defn(name="outgoing.settle")
    async def settle(self, batch_id: str) -> SettleOutcome:
        """Post what is confirmed and finish its payouts."""
        return await self._log.settle(batch_id)

    @activity.defn(name="outgoing.notify")
    async def notify(self, batch_id: str) -> None:
        """Tell the workflows of finished payouts, of runs, and of mixes that are over."""
        outcomes = await self._log.unnotified(batch_id)
        alone = [o for o in outcomes if o.run_id is None and o.mix_id is None]
        await self._notifier.payouts_finished(alone)
        await self._notifier.runs_moved(sorted({o.run_id for o in outcomes if o.run_id}))
        # A part more is nothing to a mix; that it was the last one is.
        mixes = await self._log.mixes_over({o.mix_id for o in outcomes if o.mix_id})
        await self._notifier.mixes_moved(mixes)
        await self._log.mark_notified([outcome.payout_id for outcome in outcomes])
