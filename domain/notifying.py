"""Telling workflows that what they wait for has moved."""

from collections.abc import Sequence
from typing import Protocol

from domain.payouts import PayoutOutcome


class WorkflowNotifier(Protocol):
    """Tells running workflows what happened; a workflow that has ended is passed over."""

    async def payouts_finished(self, outcomes: Sequence[PayoutOutcome]) -> None:
        """Signal each payout's workflow its final standing."""
        ...

    async def runs_moved(self, run_ids: Sequence[str]) -> None:
        """Signal each bulk payout's workflow that lines of it ended."""
        ...

    async def batches_moved(self, batch_ids: Sequence[str]) -> None:
        """Signal each batch's workflow that the chain moved."""
        ...

    async def deposits_moved(self, deposit_ids: Sequence[str]) -> None:
        """Signal each deposit's workflow that there is something to do, starting it if need be."""
        ...

    async def mixes_moved(self, mix_ids: Sequence[str]) -> None:
        """Signal each mix's workflow that the last of its dole-outs ended."""
        ...

    async def mix_funded(self, mix_id: str, queue: str) -> None:
        """Signal a mix's workflow that a deposit moved, starting it if need be."""
        ...

    async def purchases_moved(self, purchase_ids: Sequence[str]) -> None:
        """Do the same for each purchase's workflow."""
        ...
