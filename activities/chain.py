"""Activities that ask a chain's nodes; they run on that chain's own task queue."""

from datetime import timedelta

from temporalio import activity

from activities.watching import rounds
from domain.ports import ChainRunner, ChainWatch, WorkflowNotifier


class ChainActivities:
    """Plan, broadcast, replace and watch, on one chain."""

    def __init__(
        self,
        runner: ChainRunner,
        watch: ChainWatch,
        notifier: WorkflowNotifier,
        *,
        watch_interval: timedelta,
    ) -> None:
        """Take the collaborators of one chain, and how often to look at it."""
        self._runner = runner
        self._watch = watch
        self._notifier = notifier
        self._watch_interval = watch_interval

    @activity.defn(name="chain.prepare")
    async def prepare(self, batch_id: str) -> None:
        """Plan gas and fees; fails for now while the batch must wait."""
        await self._runner.prepare(batch_id)

    @activity.defn(name="chain.broadcast")
    async def broadcast(self, batch_id: str) -> None:
        """Hand the stored bytes to a node; may be repeated at will."""
        await self._runner.broadcast(batch_id)

    @activity.defn(name="chain.plan_bumps")
    async def plan_bumps(self, batch_id: str) -> int:
        """Plan replacements of what is stuck; return how many await signing."""
        return await self._runner.plan_bumps(batch_id)

    @activity.defn(name="chain.watch")
    async def watch(self) -> None:
        """Follow the chain for a round, telling batches when something of theirs moved."""
        async for _ in rounds(self._watch_interval):
            moved = await self._watch.watch_once()
            await self._notifier.batches_moved(moved)
