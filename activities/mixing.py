"""Activities of mixes: each is one unit of work on the database, or a message to a workflow."""

from datetime import timedelta

from temporalio import activity

from activities.failures import tried_for_ever
from activities.watching import rounds
from domain.mixing.messages import MixAcceptance, MixAction, MixRequest, MixStanding
from domain.mixing.ports import MixDesk, MixerChecker
from domain.notifying import WorkflowNotifier


class MixActivities:
    """The steps of one mix."""

    def __init__(self, desk: MixDesk) -> None:
        """Take the desk."""
        self._desk = desk

    @activity.defn(name="mix.open")
    async def open(self, request: MixRequest) -> MixAcceptance:
        """Open the mix, or say why not; a repeat answers the same."""
        return await self._desk.open(request)

    @activity.defn(name="mix.advance")
    async def advance(self, mix_id: str) -> MixStanding:
        """Decide on what came, release what is due, and say what is next."""
        return await tried_for_ever(self._desk.advance(mix_id))

    @activity.defn(name="mix.cancel")
    async def cancel(self, mix_id: str) -> MixStanding:
        """Give a mix up before its first part leaves."""
        return await self._desk.cancel(mix_id)

    @activity.defn(name="mix.pause")
    async def pause(self, mix_id: str) -> MixStanding:
        """Let nothing leave until it is resumed."""
        return await self._desk.pause(mix_id)

    @activity.defn(name="mix.resume")
    async def resume(self, mix_id: str) -> MixStanding:
        """Go on."""
        return await self._desk.resume(mix_id)

    @activity.defn(name="mix.hold")
    async def hold(self, action: MixAction) -> MixStanding:
        """Let nothing leave, or be given back, until an operator lifts it."""
        return await self._desk.hold(action)

    @activity.defn(name="mix.release_hold")
    async def release_hold(self, action: MixAction) -> MixStanding:
        """Let a held mix go on."""
        return await self._desk.release_hold(action)


class MixNewsActivities:
    """What the workflows of deposits ask for."""

    def __init__(self, notifier: WorkflowNotifier) -> None:
        """Take the way to reach other workflows."""
        self._notifier = notifier

    @activity.defn(name="mix.tell")
    async def tell(self, mix_id: str, queue: str) -> None:
        """Tell a mix's workflow that a deposit of its moved, starting it if need be."""
        await self._notifier.mix_funded(mix_id, queue)


class MixerCheckActivities:
    """What is done for all mixers now and then."""

    def __init__(self, checker: MixerChecker, *, interval: timedelta) -> None:
        """Take the checker, and how often it looks."""
        self._checker = checker
        self._interval = interval

    @activity.defn(name="mixer.check")
    async def check(self) -> None:
        """Compare the books of mixers, and purge the audit trail, again and again for a while."""
        async for _ in rounds(self._interval):
            faults = await self._checker.check()
            await self._checker.purge()
            activity.heartbeat(len(faults))
