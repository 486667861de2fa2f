"""
The ports of ``domain.mixing.ports`` in memory, for tests of workflows.

Every step may be repeated, like its counterpart on PostgreSQL, and what must happen once is
counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from domain.deposits import DepositStanding, DepositStatus
from domain.errors import MixStateError
from domain.mixing.messages import (
    MixAcceptance,
    MixAction,
    MixerBooks,
    MixRequest,
    MixStanding,
    MixStatus,
)
from domain.workflow_ids import mixer_queue
from tests.support.clocks import MovableClock

MIXER_ID = "mxr_1"
QUEUE = mixer_queue(MIXER_ID)
EXPIRES_AFTER = timedelta(hours=6)
STEP = timedelta(hours=12)
PARTS = 5
"""Parts leave every twelve hours, over two and a half days."""
RECHECK = timedelta(hours=1)
STOPPED_RECHECK = timedelta(days=1)


@dataclass
class FakeMix:
    """A mix's row, what came for it, and what has left."""

    id: str
    request_hash: str
    expires_at: datetime
    status: MixStatus = MixStatus.AWAITING_FUNDS
    is_funded: bool = False
    is_taken: bool = False
    due: list[datetime] = field(default_factory=list)
    unsettled: int = 0
    is_paused: bool = False
    is_held: bool = False


@dataclass
class FakeMixer:
    """What the fakes share, and what a test turns to make trouble."""

    is_refusing: bool = False
    settles_at_once: bool = True
    mixes: dict[str, FakeMix] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    checks: int = 0
    clock: MovableClock = field(default_factory=lambda: MovableClock(datetime.now(UTC)))

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def standing(self) -> dict[str, object]:
        """Return how everything ended, ids left out."""
        return {
            "statuses": sorted(mix.status for mix in self.mixes.values()),
            "counts": dict(sorted(self.counts.items())),
        }


class FakeMixDesk:
    """Implements ``domain.mixing.ports.MixDesk``."""

    def __init__(self, mixer: FakeMixer) -> None:
        self._mixer = mixer

    async def open(self, request: MixRequest) -> MixAcceptance:
        mixer = self._mixer
        if mixer.is_refusing:
            return MixAcceptance(
                request.mix_id, MixStatus.REFUSED, request.request_hash, "mixing_not_allowed", "no"
            )
        if request.mix_id not in mixer.mixes:
            mixer.count("opened")
            expires_at = mixer.clock.now() + EXPIRES_AFTER
            mixer.mixes[request.mix_id] = FakeMix(request.mix_id, request.request_hash, expires_at)
        return MixAcceptance(request.mix_id, MixStatus.AWAITING_FUNDS, request.request_hash)

    async def advance(self, mix_id: str) -> MixStanding:
        mix, now = self._mixer.mixes[mix_id], self._mixer.clock.now()
        if mix.is_funded and not mix.is_taken and mix.status != MixStatus.CANCELLED:
            mix.is_taken, mix.status = True, MixStatus.MIXING
            mix.due = [now + number * STEP for number in range(1, PARTS + 1)]
            self._mixer.count("taken")
        while mix.due and mix.due[0] <= now and not mix.is_paused and not mix.is_held:
            mix.due.pop(0)
            mix.unsettled += not self._mixer.settles_at_once
            self._mixer.count("released")
        return self._next(mix)

    async def cancel(self, mix_id: str) -> MixStanding:
        mix = self._mixer.mixes[mix_id]
        if mix.status != MixStatus.CANCELLED:
            if mix.is_taken and len(mix.due) < PARTS:
                raise MixStateError
            mix.status, mix.due = MixStatus.CANCELLED, []
            self._mixer.count("cancelled")
        return self._next(mix)

    async def pause(self, mix_id: str) -> MixStanding:
        self._mixer.mixes[mix_id].is_paused = True
        return self._next(self._mixer.mixes[mix_id])

    async def resume(self, mix_id: str) -> MixStanding:
        mix = self._mixer.mixes[mix_id]
        mix.is_paused = False
        self._redraw(mix)
        return self._next(mix)

    async def hold(self, action: MixAction) -> MixStanding:
        self._mixer.mixes[action.mix_id].is_held = True
        return self._next(self._mixer.mixes[action.mix_id])

    async def release_hold(self, action: MixAction) -> MixStanding:
        mix = self._mixer.mixes[action.mix_id]
        if not mix.is_held:
            raise MixStateError
        mix.is_held = False
        self._mixer.count("hold lifted")
        self._redraw(mix)
        return self._next(mix)

    def _redraw(self, mix: FakeMix) -> None:
        now = self._mixer.clock.now()
        mix.due = sorted(due if due > now else now + STEP for due in mix.due)

    def _next(self, mix: FakeMix) -> MixStanding:
        now = self._mixer.clock.now()
        if mix.is_taken and mix.status == MixStatus.MIXING and not mix.due and not mix.unsettled:
            mix.status = MixStatus.DONE
        if mix.status == MixStatus.AWAITING_FUNDS and now >= mix.expires_at:
            mix.status = MixStatus.EXPIRED
            self._mixer.count("expired")
        moments = [now + RECHECK] if mix.unsettled else []
        if mix.due:
            is_stopped = mix.is_paused or mix.is_held
            moments.append(now + STOPPED_RECHECK if is_stopped else mix.due[0])
        if mix.status == MixStatus.AWAITING_FUNDS:
            moments.append(mix.expires_at)
        return MixStanding(mix.id, mix.status, min(moments, default=None))


class FakeMixerChecker:
    """Implements ``domain.mixing.ports.MixerChecker``."""

    def __init__(self, mixer: FakeMixer) -> None:
        self._mixer = mixer

    async def check(self) -> Sequence[MixerBooks]:
        self._mixer.checks += 1
        return ()

    async def purge(self) -> int:
        return 0


class FundingDepositDesk:
    """Implements ``domain.ports.DepositDesk``: each deposit is for the mix of its name."""

    def __init__(self, mixer: FakeMixer) -> None:
        self._mixer = mixer

    async def advance(self, deposit_id: str) -> DepositStanding:
        mix_id = deposit_id.replace("dep_", "mix_")
        self._mixer.mixes[mix_id].is_funded = True
        return DepositStanding(
            deposit_id=deposit_id,
            status=DepositStatus.CREDITED,
            amount="1",
            asset="ETH",
            confirmations=3,
            confirmations_required=3,
            is_waiting=False,
            mix_id=mix_id,
            mix_queue=QUEUE,
        )
