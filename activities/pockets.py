"""Activities of transfers to and from pockets; what else they need are those of payouts."""

from temporalio import activity

from domain.payouts import Acceptance, PayoutOutcome
from domain.pocket_ports import PocketDesk, PocketSpender
from domain.pockets import PocketStanding, PocketTransferRequest


class PocketActivities:
    """Steps that are one unit of work on the database, run as local activities."""

    def __init__(self, desk: PocketDesk) -> None:
        """Take the desk."""
        self._desk = desk

    @activity.defn(name="pocket.freeze")
    async def freeze(self, request: PocketTransferRequest) -> Acceptance:
        """Hold the money, or say why not; a repeat answers the same."""
        return await self._desk.freeze(request)

    @activity.defn(name="pocket.make_ready")
    async def make_ready(self, transfer_id: str) -> PayoutOutcome:
        """Make the pocket that an approved transfer goes to, if there is none."""
        return await self._desk.make_ready(transfer_id)


class PocketSpendActivities:
    """The step that asks a node; it runs on its chain's own task queue."""

    def __init__(self, spender: PocketSpender) -> None:
        """Take the spender of one chain."""
        self._spender = spender

    @activity.defn(name="chain.advance_pocket")
    async def advance(self, transfer_id: str) -> PocketStanding:
        """Plan what a pocket pays, or the gas that it waits for; may be repeated."""
        return await self._spender.advance(transfer_id)
