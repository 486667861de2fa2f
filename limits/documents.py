"""The stored tables of limits: their versions, and the one in force."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import InvalidLimitsError, InvariantError
from domain.limits import ANY_ASSET, Limit, LimitsDocument, Operation, parse_limits
from models.limits import LimitsVersion
from models.wallets import Asset

_OF_USER = text("""
    SELECT e.row
    FROM (SELECT document FROM limits_version ORDER BY version DESC LIMIT 1) newest,
         jsonb_array_elements(newest.document -> 'limits') WITH ORDINALITY AS e (row, place)
    WHERE (e.row ->> 'level')::integer =
          coalesce((SELECT level FROM kyc_level WHERE user_id = :user_id), 0)
      AND coalesce(CAST(:operation AS text), e.row ->> 'operation') = e.row ->> 'operation'
    ORDER BY e.place
""")


@dataclass(frozen=True, slots=True)
class StoredLimits:
    """A table of limits with its version."""

    version: int
    document: LimitsDocument


async def current_limits(session: AsyncSession) -> StoredLimits:
    """Return the newest table. The migration job sees to it that there is one."""
    found = await session.exec(
        select(LimitsVersion).order_by(col(LimitsVersion.version).desc()).limit(1)
    )
    row = found.one()
    if row.version is None:
        msg = "A stored table of limits has no version."
        raise InvariantError(msg)
    return StoredLimits(row.version, parse_limits(row.document))


async def limits_of(
    session: AsyncSession, user_id: str, operation: Operation | None = None
) -> list[Limit]:
    """Return the rows in force for this user's level, in the table's order."""
    # Chosen by the database: a table may have a thousand rows, of which a few concern a user.
    named = {"user_id": user_id, "operation": operation}
    return [Limit.model_validate(row) for (row,) in await session.execute(_OF_USER, named)]


async def limits_versions(
    session: AsyncSession, *, before: int | None, limit: int
) -> list[LimitsVersion]:
    """Return up to ``limit`` stored versions, newest first, below version ``before``."""
    query = select(LimitsVersion).order_by(col(LimitsVersion.version).desc()).limit(limit)
    if before is not None:
        query = query.where(col(LimitsVersion.version) < before)
    return list(await session.exec(query))


async def store_limits(
    session: AsyncSession, document: LimitsDocument, *, by: str | None
) -> LimitsVersion:
    """Add a version; it holds from its commit, for what was used before it too."""
    row = LimitsVersion(document=document.model_dump(mode="json"), created_by=by)
    session.add(row)
    await session.flush()
    return row


async def check_assets(session: AsyncSession, document: LimitsDocument) -> None:
    """
    Pass if every asset that the table names is known.

    Raises:
        InvalidLimitsError: One is not.
    """
    named = {limit.asset for limit in document.limits}
    known = set(await session.exec(select(Asset.code)))
    if unknown := sorted(named - known - {ANY_ASSET}):
        msg = f"The limits name unknown assets: {', '.join(unknown)}."
        raise InvalidLimitsError(msg)
