"""What transfers to and from pockets ask of the outside; see ``domain.ports``."""

from typing import Protocol

from domain.payouts import Acceptance, PayoutOutcome
from domain.pockets import PocketStanding, PocketTransferRequest


class PocketDesk(Protocol):
    """The first steps of a transfer to or from a pocket; then it is a payout like others."""

    async def freeze(self, request: PocketTransferRequest) -> Acceptance:
        """Write the transfer and hold its money, or refuse it; a repeat answers the same."""
        ...

    async def make_ready(self, transfer_id: str) -> PayoutOutcome:
        """Make the pocket that an approved transfer goes to, if there is none."""
        ...


class PocketSpender(Protocol):
    """Plans what leaves the pockets of one chain."""

    async def advance(self, transfer_id: str) -> PocketStanding:
        """
        Plan the payment, or what it waits for; say which batches must be on their way.

        Raises:
            TransientError: A leaf of it: not now.
        """
        ...
