"""What the activities of mixing ask for; ``mixers`` has it on PostgreSQL."""

from collections.abc import Sequence
from typing import Protocol

from domain.mixing.messages import (
    MixAcceptance,
    MixAction,
    MixerBooks,
    MixRequest,
    MixStanding,
)


class MixDesk(Protocol):
    """The steps of one mix, each one unit of work that may be repeated."""

    async def open(self, request: MixRequest) -> MixAcceptance:
        """Open the mix, or refuse it; a repeat answers the same."""
        ...

    async def advance(self, mix_id: str) -> MixStanding:
        """Decide on what came, release what is due, and say what is next."""
        ...

    async def cancel(self, mix_id: str) -> MixStanding:
        """Give a mix up before its first part leaves; raise MixStateError else."""
        ...

    async def pause(self, mix_id: str) -> MixStanding:
        """Let nothing leave until it is resumed; raise MixStateError where it is over."""
        ...

    async def resume(self, mix_id: str) -> MixStanding:
        """Go on; raise MixStateError where it is over."""
        ...

    async def hold(self, action: MixAction) -> MixStanding:
        """Let nothing leave, or be given back, until an operator lifts it."""
        ...

    async def release_hold(self, action: MixAction) -> MixStanding:
        """Let a held mix go on; raise MixStateError where nobody holds it."""
        ...


class MixerChecker(Protocol):
    """Compares the books of mixers, and forgets what was kept for long enough."""

    async def check(self) -> Sequence[MixerBooks]:
        """Return the mixers whose house does not hold what it should, and note it."""
        ...

    async def purge(self) -> int:
        """Delete what the audit trail kept for long enough; return how many lines."""
        ...
