"""What payouts of each priority may cost per unit, and whether the chain asks for more now."""

from datetime import datetime

from domain.explanations import SILENT_AFTER
from domain.payouts import Priority
from models.chain_transactions import ChainHead
from models.wallets import Chain


def ceiling_minor(chain: Chain, priority: Priority) -> int:
    """Return the highest fee rate for this priority; units as ``Chain.max_fee_ceiling_minor``."""
    ceiling = chain.max_fee_ceiling_minor
    if priority == Priority.URGENT:
        return ceiling
    ceiling = min(ceiling, chain.normal_fee_ceiling_minor or ceiling)
    if priority == Priority.NORMAL:
        return ceiling
    # The economical never pay more than others would.
    return min(ceiling, chain.economy_fee_ceiling_minor or ceiling)


def rate_now_minor(head: ChainHead | None, *, now: datetime) -> int | None:
    """Return what a transaction would offer now; None when nobody has looked lately."""
    if head is None or now - head.seen_at > SILENT_AFTER:
        return None
    return head.fee_rate_minor


def is_too_dear(chain: Chain, head: ChainHead | None, priority: Priority, *, now: datetime) -> bool:
    """
    Tell whether payouts of this priority wait for lower fees.

    Where the rate is not known they do not, nor where the priority has no ceiling of its own:
    planning the batch asks the node itself.
    """
    rate_minor, most_minor = rate_now_minor(head, now=now), ceiling_minor(chain, priority)
    if rate_minor is None or most_minor == chain.max_fee_ceiling_minor:
        return False
    return rate_minor > most_minor
