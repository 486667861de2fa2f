"""The ceiling of fees: what we would rather wait than pay."""

from domain.errors import FeeAboveCeilingError
from domain.ports import FeeQuote
from models.wallets import Chain


def within_ceiling(quote: FeeQuote, chain: Chain) -> FeeQuote:
    """
    Return the quote with its maximum cut to the chain's ceiling.

    Raises:
        FeeAboveCeilingError: Even the present base fee plus priority is above it.
    """
    ceiling_minor = chain.max_fee_ceiling_minor
    if quote.base_fee_minor + quote.priority_fee_minor > ceiling_minor:
        msg = f"The chain asks {quote.base_fee_minor} wei per gas; the ceiling is {ceiling_minor}."
        raise FeeAboveCeilingError(msg)
    return FeeQuote(
        quote.base_fee_minor, min(quote.max_fee_minor, ceiling_minor), quote.priority_fee_minor
    )
