"""The stored tables of limits: their versions, and the one in force."""

from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import InvalidLimitsError, InvariantError
from domain.limits import ANY_ASSET, LimitsDocument, parse_limits
from models.limits import LimitsVersion
from models.wallets import Asset


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
