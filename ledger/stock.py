"""
What we set aside for users to convert into: money of ours, and never more than is ours.

Deposits lie on the same hot wallet as our own money, so only the books can tell one from the other.
"""

from enum import StrEnum

from sqlalchemy import func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import ConversionStockError
from ledger import chart, rules
from ledger.queries import account_balance
from ledger.service import Ledger
from models.ledger import LedgerAccount, LedgerTransaction


class Source(StrEnum):
    """Which of our own accounts it comes from, or goes back to."""

    CAPITAL = "capital"
    PROCEEDS = "purchases:proceeds"
    FEES = "fees:service"


async def set_aside(
    session: AsyncSession, *, asset: str, amount_minor: int, source: Source, key: str, clock: Clock
) -> int:
    """
    Move money of ours to the stock, or back where the amount is negative; return the stock.

    The same key moves it once.

    Raises:
        ConversionStockError: There is not so much there, or it is not ours.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(7322)"))
    stock_minor = await account_balance(session, chart.CONVERSION_STOCK, asset)
    posting = rules.conversion_stock(
        key=key, source=source, asset=asset, amount_minor=amount_minor, at=clock.now()
    )
    if await _is_posted(session, posting.key):
        return stock_minor
    there_minor = await account_balance(session, source, asset)
    free_minor = min(there_minor, await _owned_minor(session, asset))
    if amount_minor > free_minor or -amount_minor > stock_minor:
        msg = f"{free_minor} minor units are free in {source}, {stock_minor} are set aside."
        raise ConversionStockError(msg)
    await Ledger.post_in(session, [posting])
    return await account_balance(session, chart.CONVERSION_STOCK, asset)


async def _is_posted(session: AsyncSession, key: str) -> bool:
    found = await session.exec(select(LedgerTransaction.id).where(LedgerTransaction.key == key))
    return found.first() is not None


async def _owned_minor(session: AsyncSession, asset: str) -> int:
    """Return what is ours and not set aside: what came in, less what networks took of it."""
    code = col(LedgerAccount.code)
    ours = code.in_(list(Source)) | code.like("fees:network:%")
    lost = (code == chart.SUSPENSE) & (col(LedgerAccount.balance_minor) < 0)
    found = await session.exec(
        select(func.coalesce(func.sum(LedgerAccount.balance_minor), 0)).where(
            LedgerAccount.asset == asset, ours | lost
        )
    )
    return int(found.one())
