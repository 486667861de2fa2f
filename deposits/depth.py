"""How deep a deposit lies, and whether that is deep enough."""

from dataclasses import dataclass

from models.chain_transactions import ChainHead
from models.deposits import ChainDeposit
from models.wallets import Chain, Finality


@dataclass(frozen=True, slots=True)
class Depth:
    """Confirmations now; the block itself is the first."""

    confirmations: int
    is_enough: bool


def depth_of(deposit: ChainDeposit, chain: Chain, head: ChainHead | None) -> Depth:
    """Return the depth of a deposit below what we have read of its chain."""
    if deposit.block_height is None or head is None:
        return Depth(0, is_enough=False)
    confirmations = max(0, head.height - deposit.block_height + 1)
    is_enough = confirmations >= deposit.confirmations_required and (
        chain.finality != Finality.FINALIZED
        or (head.finalized_height is not None and deposit.block_height <= head.finalized_height)
    )
    return Depth(confirmations, is_enough)
