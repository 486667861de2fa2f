"""Deposits that a mix waits for; what becomes of them, ``mixers`` decides."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.mixing.messages import MixStatus
from models.deposits import ChainDeposit
from models.mixing import Mix, Mixer


async def mix_of(session: AsyncSession, deposit: ChainDeposit) -> tuple[str, str] | None:
    """
    Return the mix that this deposit is for, and its task queue, if it is for one.

    Another asset at a mix's address is an ordinary deposit, and so is everything at the address of
    a mix that was refused: what came there before it was asked for is its user's balance already.
    """
    found = await session.exec(
        select(Mix.id, Mixer.task_queue)
        .join(Mixer, col(Mixer.id) == col(Mix.mixer_id))
        .where(
            Mix.address_id == deposit.address_id,
            Mix.asset == deposit.asset,
            Mix.status != MixStatus.REFUSED,
        )
    )
    return found.first()
