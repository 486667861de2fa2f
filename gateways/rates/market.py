"""What the market says: prices that the sources gave last, and the median of those."""

from collections.abc import Collection, Sequence
from datetime import datetime
from fractions import Fraction

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.rate_table import PairTerms, RateTableDocument
from domain.rates import Observation, market_price
from models.purchases import RateObservation


async def store_observations(session: AsyncSession, observations: Sequence[Observation]) -> None:
    """Keep the newest price of each source and symbol; an older one changes nothing."""
    # In one order, so that two workers that write at once do not wait for each other.
    for each in sorted(observations, key=lambda o: (o.source, o.symbol)):
        statement = insert(RateObservation).values(
            source=each.source,
            symbol=each.symbol,
            price_numerator=each.price.numerator,
            price_denominator=each.price.denominator,
            observed_at=each.observed_at,
        )
        values = {
            name: statement.excluded[name]
            for name in ("price_numerator", "price_denominator", "observed_at")
        }
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=["source", "symbol"],
                set_=values,
                where=RateObservation.__table__.c.observed_at  # type: ignore[attr-defined]
                < statement.excluded.observed_at,
            )
        )


async def observations_of(session: AsyncSession, symbols: Collection[str]) -> list[Observation]:
    """Return what each source said last of these symbols."""
    rows = await session.exec(select(RateObservation).order_by(RateObservation.source))
    return [
        Observation(
            row.source,
            row.symbol,
            Fraction(row.price_numerator, row.price_denominator),
            row.observed_at,
        )
        for row in rows
        if row.symbol in symbols
    ]


async def price_of(
    session: AsyncSession, pair: PairTerms, table: RateTableDocument, *, now: datetime
) -> Fraction:
    """
    Return a pair's price: as an admin wrote it, or the market's.

    Raises:
        RateUnavailableError: Too few sources are fresh, or too few agree.
    """
    if pair.fixed_price is not None:
        return pair.fixed_price
    found = await observations_of(session, {str(pair.symbol)})
    return market_price(found, table.guard, now=now)
