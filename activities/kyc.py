"""Activities of KYC: each is one unit of work on the database, run as a local activity."""

from temporalio import activity

from activities.failures import application_error
from domain.errors import StrongroomError
from domain.kyc import KycDecisionRequest, KycDesk, KycDowngradeRequest, KycStanding, KycSupply


class KycActivities:
    """The steps of an application."""

    def __init__(self, desk: KycDesk) -> None:
        """Take the desk."""
        self._desk = desk

    @activity.defn(name="kyc.advance")
    async def advance(self, application_id: str) -> KycStanding:
        """Do what is due: open the review, remind, expire, lapse."""
        try:
            return await self._desk.advance(application_id)
        except StrongroomError as error:
            # It answers nobody: if it refused for good, nobody would ever expire what is overdue.
            raise application_error(error, may_refuse=False) from error

    @activity.defn(name="kyc.decide")
    async def decide(self, decision: KycDecisionRequest) -> KycStanding:
        """Record a reviewer's decision and act on it."""
        return await self._desk.decide(decision)

    @activity.defn(name="kyc.supply")
    async def supply(self, supply: KycSupply) -> KycStanding:
        """Take more documents in, and have them reviewed."""
        return await self._desk.supply(supply)

    @activity.defn(name="kyc.withdraw")
    async def withdraw(self, application_id: str) -> KycStanding:
        """Take an open application back."""
        return await self._desk.withdraw(application_id)

    @activity.defn(name="kyc.downgrade")
    async def downgrade(self, request: KycDowngradeRequest) -> KycStanding:
        """Lower the user's level."""
        return await self._desk.downgrade(request)
