"""The stored table of rates: its versions, and the one in force."""

from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import InvalidRateTableError, RateUnavailableError
from domain.rate_table import PairTerms, Purpose, RateTableDocument, parse_rate_table
from models.purchases import RateTable
from models.wallets import Asset, AssetKind


@dataclass(frozen=True, slots=True)
class RateTableVersion:
    """A table of rates with the version that quotes record."""

    version: int
    document: RateTableDocument


async def current_table(session: AsyncSession) -> RateTableVersion:
    """
    Return the newest table.

    Raises:
        RateUnavailableError: No owner has written one yet.
    """
    rows = await table_versions(session, before=None, limit=1)
    if not rows:
        msg = "There is no table of rates yet."
        raise RateUnavailableError(msg)
    return RateTableVersion(int(rows[0].version or 0), parse_rate_table(rows[0].document))


async def table_versions(
    session: AsyncSession, *, before: int | None, limit: int
) -> list[RateTable]:
    """Return up to ``limit`` stored versions, newest first, below version ``before``."""
    query = select(RateTable).order_by(col(RateTable.version).desc()).limit(limit)
    if before is not None:
        query = query.where(col(RateTable.version) < before)
    return list(await session.exec(query))


async def check_assets(session: AsyncSession, document: RateTableDocument) -> None:
    """
    Pass for a table that sells internal assets, and converts what can be owned.

    Raises:
        InvalidRateTableError: It names what there is not, or sells what is not ours to issue.
    """
    assets = {asset.code: asset for asset in await session.exec(select(Asset))}
    for pair in document.pairs:
        _check_pair(assets, pair)


async def store_table(session: AsyncSession, document: RateTableDocument, *, by: str) -> RateTable:
    """Add a version; quotes that were given before keep the one they have."""
    row = RateTable(document=document.model_dump(mode="json"), created_by=by)
    session.add(row)
    await session.flush()
    return row


def _check_pair(assets: dict[str, Asset], pair: PairTerms) -> None:
    paying, bought = assets.get(pair.pay_asset), assets.get(pair.buy_asset)
    if paying is None or bought is None:
        msg = f"{pair.pay_asset if paying is None else pair.buy_asset} is not in the catalog."
        raise InvalidRateTableError(msg)
    if paying is bought:
        msg = f"{bought.code} is not sold for itself."
        raise InvalidRateTableError(msg)
    if Purpose.CONVERSION in pair.purposes and AssetKind.FIAT in (paying.kind, bought.kind):
        msg = f"Nobody owns {paying.code} and {bought.code} here: there is nothing to convert."
        raise InvalidRateTableError(msg)
    if Purpose.PURCHASE not in pair.purposes:
        return
    if bought.kind != AssetKind.INTERNAL:
        msg = f"{bought.code} is not an internal asset: it cannot be issued."
        raise InvalidRateTableError(msg)
    if paying.kind == AssetKind.INTERNAL:
        msg = f"{paying.code} is an internal asset: there is nowhere to pay it."
        raise InvalidRateTableError(msg)
