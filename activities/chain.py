"""Activities that ask a chain's nodes; they run on that chain's own task queue."""

from datetime import timedelta

from temporalio import activity

from activities.watching import rounds
from domain.notifying import WorkflowNotifier
from domain.ports import ChainRunner, ChainWatch, WatchRound


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
        """Follow the chain for a while, telling batches and deposits when something moved."""
        async for _ in rounds(self._watch_interval):
            # While there is more to read there is nothing to wait for.
            while (await self._watch_once()).is_behind and not activity.is_worker_shutdown():
                pass

    async def _watch_once(self) -> WatchRound:
        found = await self._watch.watch_once()
        activity.heartbeat(found.height, found.tip_height)
        await self._notifier.batches_moved(found.batches)
        await self._notifier.deposits_moved(found.deposits)
        await self._watch.mark_notified(found.deposits)
        return found
