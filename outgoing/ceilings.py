"""The ceiling of fees: what we would rather wait than pay."""

from collections.abc import Mapping, Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import FeeAboveCeilingError
from domain.payouts import Priority
from domain.ports import FeeQuote
from models.chain_transactions import ChainTransaction
from models.payouts import Payout
from models.wallets import Chain
from payouts import fee_ceilings


async def ceiling_of(session: AsyncSession, chain: Chain, batch_id: str) -> int:
    """Return the ceiling of the payout in this batch that may cost most; else the chain's own."""
    found = await session.exec(
        select(Payout.priority)
        .join(ChainTransaction, col(ChainTransaction.id) == col(Payout.chain_transaction_id))
        .where(ChainTransaction.batch_id == batch_id)
        .distinct()
    )
    return highest_ceiling(chain, [Priority(priority) for priority in found])


def highest_ceiling(chain: Chain, priorities: Sequence[Priority]) -> int:
    """Return the highest ceiling of these priorities; the chain's own where there are none."""
    own = [fee_ceilings.ceiling_minor(chain, priority) for priority in priorities]
    return max(own, default=chain.max_fee_ceiling_minor)


def within_ceiling(quote: FeeQuote, chain: Chain, *, ceiling_minor: int | None = None) -> FeeQuote:
    """
    Return the quote with its maximum cut to a ceiling: the chain's, unless a lower one is given.

    Raises:
        FeeAboveCeilingError: Even the present base fee plus priority is above it.
    """
    ceiling_minor = min(chain.max_fee_ceiling_minor, ceiling_minor or chain.max_fee_ceiling_minor)
    if quote.base_fee_minor + quote.priority_fee_minor > ceiling_minor:
        msg = f"The chain asks {quote.base_fee_minor} wei per gas; the ceiling is {ceiling_minor}."
        raise FeeAboveCeilingError(msg)
    return FeeQuote(
        quote.base_fee_minor, min(quote.max_fee_minor, ceiling_minor), quote.priority_fee_minor
    )


async def gas_budgets(session: AsyncSession, batch_id: str) -> Mapping[str, int]:
    """Return the most that what leaves a pocket may cost, by chain transaction; see ``Payout``."""
    found = await session.exec(
        select(ChainTransaction.id, Payout.gas_max_minor)
        .join(Payout, col(Payout.chain_transaction_id) == col(ChainTransaction.id))
        .where(ChainTransaction.batch_id == batch_id, col(Payout.gas_max_minor).is_not(None))
    )
    return {row_id: int(most_minor or 0) for row_id, most_minor in found}


def within_budget(quote: FeeQuote, gas_limit: int | None, budget_minor: int | None) -> FeeQuote:
    """
    Return the quote with its maximum cut to what this much gas may cost; None: any amount.

    Raises:
        FeeAboveCeilingError: Even the present base fee plus priority would cost more.
    """
    if budget_minor is None or not gas_limit:
        return quote
    most_minor = budget_minor // gas_limit
    if quote.base_fee_minor + quote.priority_fee_minor > most_minor:
        msg = f"The network asks more than the {budget_minor} that are set aside for its fee."
        raise FeeAboveCeilingError(msg)
    return FeeQuote(
        quote.base_fee_minor, min(quote.max_fee_minor, most_minor), quote.priority_fee_minor
    )


def least(*budgets_minor: int | None) -> int | None:
    """Return the tightest of these budgets; None is no bound."""
    return min((minor for minor in budgets_minor if minor is not None), default=None)
