"""The activity that looks for deposits worth sweeping; it runs on its chain's own task queue."""

from temporalio import activity

from domain.ports import Sweeper, SweepPlan


class SweepActivities:
    """What a chain's sweep workflow asks for."""

    def __init__(self, sweeper: Sweeper) -> None:
        """Take the sweeper of one chain."""
        self._sweeper = sweeper

    @activity.defn(name="chain.plan_sweeps")
    async def plan(self, is_forced: bool) -> SweepPlan:  # noqa: FBT001 - Temporal passes it
        """Plan sweeps; a repeat after a crash answers what is on its way."""
        return await self._sweeper.plan(is_forced=is_forced)
