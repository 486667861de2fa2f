"""
The ledger's front door. Writing goes through one SQL function, ``ledger_post``.

``post`` is one round trip and its own commit; ``post_in`` joins a unit of work. Both take one
posting or thousands, and post all of them or none.
"""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import (
    HoldStateError,
    IdempotencyConflictError,
    InsufficientAvailableBalanceError,
    LimitExceededError,
    StrongroomError,
    UnbalancedTransactionError,
)
from infra.database import Database
from ledger.posting import Entry, Posted, Posting
from models.ledger import LedgerAccount, LedgerEntry, LedgerTransaction

POST_SQL = "SELECT ledger_post(%(postings)s::text::jsonb)"

_ERROR_BY_SQLSTATE: dict[str, type[StrongroomError]] = {
    "SR002": LimitExceededError,
    "SR003": HoldStateError,
    "SR004": UnbalancedTransactionError,
    "SR005": IdempotencyConflictError,
    "23514": InsufficientAvailableBalanceError,
}


class Ledger:
    """Posts to the books of one database."""

    def __init__(self, database: Database) -> None:
        """Take the database whose role may run ``ledger_post``."""
        self._database = database

    async def post(self, *postings: Posting) -> list[Posted]:
        """
        Post all or none, in one round trip.

        A posting whose key is known is skipped and its first outcome returned.

        Raises:
            InsufficientAvailableBalanceError: A customer's account would go below zero.
            LimitExceededError: A limit counter would pass its cap.
            HoldStateError: A hold to be ended is not open, or held money moves without its hold.
            IdempotencyConflictError: A key was used for something else.
            DatabaseUnavailableError: Unknown whether it was posted; repeat with the same keys.
        """
        if not postings:
            return []
        async with self._database.statement() as connection:
            return await _post(connection, postings)

    @staticmethod
    async def post_in(session: AsyncSession, postings: Sequence[Posting]) -> list[Posted]:
        """
        Post within the caller's unit of work, once in it; errors as for ``post``.

        The end of the hash chain stays locked until the commit. A second posting would take locks
        behind that one, and could deadlock with somebody who waits for it.
        """
        if not postings:
            return []
        return await _post(await session.connection(), postings)

    async def reverse(self, transaction_id: int, *, at: datetime) -> Posted:
        """
        Post the opposite of a ledger transaction; a second call returns the first reversal.

        Raises:
            HoldStateError: It placed or ended a hold, which only the hold's own posting undoes.
        """
        async with self._database.transaction() as session:
            original = await session.get_one(LedgerTransaction, transaction_id)
            rows = await session.exec(
                select(LedgerEntry, LedgerAccount.code)
                .join(LedgerAccount, col(LedgerAccount.id) == col(LedgerEntry.account_id))
                .where(LedgerEntry.transaction_id == transaction_id)
                .order_by(col(LedgerEntry.id))
            )
            posting = Posting(
                key=f"{original.key}:reversal",
                rule=f"reversal:{original.rule}",
                resource=original.resource,
                entries=tuple(Entry(code, e.asset, -e.amount_minor) for e, code in rows),
                effective_at=at,
                reverses=transaction_id,
            )
            (posted,) = await self.post_in(session, [posting])
            return posted


def ledger_refusal(error: DBAPIError) -> Exception | None:
    """Return what a refusal of ``ledger_post`` means; None if it refused nothing."""
    known = _ERROR_BY_SQLSTATE.get(getattr(error.orig, "sqlstate", None) or "")
    return known() if known else None


async def _post(connection: AsyncConnection, postings: Sequence[Posting]) -> list[Posted]:
    document = json.dumps([posting.as_json() for posting in postings])
    try:
        result = await connection.exec_driver_sql(POST_SQL, {"postings": document})
    except DBAPIError as error:
        if refusal := ledger_refusal(error):
            raise refusal from error
        raise
    return [Posted(row["key"], row["id"], row["is_new"]) for row in result.scalar_one()]
