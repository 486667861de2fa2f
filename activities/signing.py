"""The signer's only activity. It takes a batch's id and trusts nothing else."""

from temporalio import activity

from domain.ports import BatchSigner, SignOutcome


class SigningActivities:
    """Runs on the signing queue, in the process that holds the keys."""

    def __init__(self, signer: BatchSigner) -> None:
        """Take what re-checks and signs."""
        self._signer = signer

    @activity.defn(name="signing.sign_batch")
    async def sign_batch(self, batch_id: str) -> SignOutcome:
        """Sign and store every planned attempt that is allowed now."""
        return await self._signer.sign(batch_id)
