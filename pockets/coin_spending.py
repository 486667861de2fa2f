"""
What leaves a pocket on a UTXO chain: one chain transaction that spends coins of that pocket alone.

Its fee comes out of the same coins, and what is left returns to the pocket.
"""

from domain.clock import Clock
from domain.pockets import PocketStanding, Route
from domain.ports import ChainOutlet
from infra.database import Database
from outgoing.coins import take_internal
from pockets.spending import look, plan


class CoinPocketSpender:
    """``domain.pocket_ports.PocketSpender`` for UTXO chains."""

    def __init__(self, database: Database, outlet: ChainOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock

    async def advance(self, transfer_id: str) -> PocketStanding:
        """Plan the payment and return the batches that must be on their way."""
        async with self._database.transaction() as session:
            found = await look(session, transfer_id)
            if isinstance(found, PocketStanding):
                return found
            destination = found.payout.destination
            if found.payout.route == Route.REDEEM:
                target = await take_internal(session, found.chain.id, clock=self._clock)
                destination = target.address
            return await plan(session, found, destination, clock=self._clock)
