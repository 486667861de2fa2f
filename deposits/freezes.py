"""Freezing a customer's outgoing money after a deposit was taken back, and lifting that again."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import WalletFrozenError
from domain.ids import FREEZE, derived_id
from models.deposits import ChainDeposit, UserFreeze


async def freeze(session: AsyncSession, deposit: ChainDeposit, *, clock: Clock) -> None:
    """Freeze the depositor because this deposit was reversed."""
    freeze_id = derived_id(FREEZE, deposit.id, str(deposit.credits))
    if await session.get(UserFreeze, freeze_id) is None:
        session.add(
            UserFreeze(
                id=freeze_id,
                user_id=deposit.user_id,
                deposit_id=deposit.id,
                created_at=clock.now(),
            )
        )


async def thaw(session: AsyncSession, deposit: ChainDeposit, *, clock: Clock) -> None:
    """Lift what the reversal of this deposit froze: it came back."""
    await session.execute(
        update(UserFreeze)
        .where(col(UserFreeze.deposit_id) == deposit.id, col(UserFreeze.lifted_at).is_(None))
        .values(lifted_at=clock.now())
    )


async def freeze_buyer(
    session: AsyncSession, *, purchase_id: str, user_id: str, posting: int, clock: Clock
) -> None:
    """Freeze a customer because a payment of theirs was taken back by a card network."""
    freeze_id = derived_id(FREEZE, purchase_id, str(posting))
    session.add(
        UserFreeze(id=freeze_id, user_id=user_id, purchase_id=purchase_id, created_at=clock.now())
    )


async def thaw_buyer(session: AsyncSession, purchase_id: str, *, clock: Clock) -> None:
    """Lift what the clawback of this purchase froze: its payment came back."""
    await session.execute(
        update(UserFreeze)
        .where(col(UserFreeze.purchase_id) == purchase_id, col(UserFreeze.lifted_at).is_(None))
        .values(lifted_at=clock.now())
    )


async def lift(session: AsyncSession, user_id: str, *, by: str, at: datetime) -> int:
    """Lift every freeze of a customer by an operator's hand; return how many there were."""
    result = await session.execute(
        update(UserFreeze)
        .where(col(UserFreeze.user_id) == user_id, col(UserFreeze.lifted_at).is_(None))
        .values(lifted_at=at, lifted_by=by)
        .returning(col(UserFreeze.id))
    )
    return len(result.all())


async def active_freezes(session: AsyncSession) -> list[UserFreeze]:
    """Return every freeze that is not lifted, oldest first."""
    found = await session.exec(
        select(UserFreeze)
        .where(col(UserFreeze.lifted_at).is_(None))
        .order_by(col(UserFreeze.created_at), col(UserFreeze.id))
    )
    return list(found)


async def frozen_among(session: AsyncSession, user_ids: Collection[str]) -> set[str]:
    """Return which of these customers are frozen."""
    found = await session.exec(
        select(UserFreeze.user_id).where(
            col(UserFreeze.user_id).in_(user_ids), col(UserFreeze.lifted_at).is_(None)
        )
    )
    return set(found)


async def check_not_frozen(session: AsyncSession, user_id: str) -> None:
    """
    Pass for a customer whose money may leave.

    Raises:
        WalletFrozenError: A deposit of theirs was reversed and nobody has lifted the freeze.
    """
    if await frozen_among(session, [user_id]):
        raise WalletFrozenError
