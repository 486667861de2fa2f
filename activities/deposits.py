"""The deposit's only activity: one unit of work on the database."""

from temporalio import activity

from domain.deposits import DepositStanding
from domain.ports import DepositDesk


class DepositActivities:
    """What a deposit's workflow asks for."""

    def __init__(self, desk: DepositDesk) -> None:
        """Take the desk."""
        self._desk = desk

    @activity.defn(name="deposit.advance")
    async def advance(self, deposit_id: str) -> DepositStanding:
        """Book the deposit or take it back, if the chain asks for it, and say where it stands."""
        return await self._desk.advance(deposit_id)
