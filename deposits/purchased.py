"""Deposits that a purchase waits for; what becomes of them, ``purchases`` decides."""

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.deposits import ChainDeposit
from models.purchases import Purchase


async def purchase_of(session: AsyncSession, deposit: ChainDeposit) -> str | None:
    """
    Return the purchase that this deposit pays, if it pays one.

    Another asset at a purchase's address is an ordinary deposit.
    """
    found = await session.exec(
        select(Purchase.id).where(
            Purchase.address_id == deposit.address_id, Purchase.pay_asset == deposit.asset
        )
    )
    return found.first()
