"""Asking about everybody whom a batch pays, shortly before it is signed."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.pockets import Route
from domain.ports import AddressScreener
from domain.screening import ANSWER_GOOD_FOR
from infra.database import Database
from models.chain_transactions import ChainAttempt, ChainTransaction, ChainTransactionStatus
from models.payouts import Payout

UNPLACED = (ChainTransactionStatus.PLANNED, ChainTransactionStatus.ALLOCATED)


class BatchScreening:
    """Lets a provider have its word on what leaves, again after it was accepted."""

    def __init__(self, database: Database, screener: AddressScreener | None, clock: Clock) -> None:
        """Take the database as the worker's role, and who screens beside our own list, if any."""
        self._database = database
        self._screener = screener
        self._clock = clock

    async def refresh(self, batch_id: str) -> None:
        """
        Screen what a batch pays, is not signed and was not screened lately.

        Whoever is denied by now is left out where the batch gets its places, or set aside. The
        signer signs nothing whose screening is too old.

        Raises:
            TransientError: Nobody knows now.
        """
        async with self._database.transaction() as session:
            if self._screener is None:
                await self._mark(session, await self._unsigned(session, batch_id), is_asked=False)
                return
            rows = await self._unsigned(session, batch_id)
            paid = await _paid(session, rows)
        for chain_id, destinations in paid.items():
            await self._screener.screen(chain_id, destinations)
        async with self._database.transaction() as session:
            await self._mark(session, rows, is_asked=True)

    async def _unsigned(self, session: AsyncSession, batch_id: str) -> Sequence[str]:
        lately = self._clock.now() - ANSWER_GOOD_FOR
        row = ChainTransaction
        is_old = (
            col(row.screened_at).is_not(None)
            if self._screener is None
            else col(row.screened_at).is_(None) | (col(row.screened_at) < lately)
        )
        is_signed = (
            select(ChainAttempt.id)
            .where(
                col(ChainAttempt.chain_transaction_id) == col(row.id),
                col(ChainAttempt.raw).is_not(None),
            )
            .exists()
        )
        found = await session.exec(
            select(row.id)
            .where(row.batch_id == batch_id, col(row.status).in_(UNPLACED), is_old, ~is_signed)
            .order_by(col(row.id))
        )
        return found.all()

    async def _mark(self, session: AsyncSession, rows: Sequence[str], *, is_asked: bool) -> None:
        if rows:
            await session.execute(
                update(ChainTransaction)
                .where(col(ChainTransaction.id).in_(rows))
                .values(screened_at=self._clock.now() if is_asked else None)
            )


async def _paid(session: AsyncSession, rows: Sequence[str]) -> dict[str, set[str]]:
    """Return whom these transactions pay, by chain."""
    found = await session.exec(
        select(Payout.chain_id, Payout.destination).where(
            col(Payout.chain_transaction_id).in_(rows),
            # To and from a user's own pocket nobody is paid.
            col(Payout.route).in_([Route.PAYOUT, Route.SEND]),
        )
    )
    paid: dict[str, set[str]] = {}
    for chain_id, destination in found:
        paid.setdefault(chain_id, set()).add(destination)
    return paid
