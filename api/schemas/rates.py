"""The table of rates, quotes, and how a rate is written."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from api.schemas.payouts import AmountText, AssetText
from domain.ids import QUOTE
from domain.rate_table import Purpose, RateTableDocument
from models.purchases import Quote

QuoteIdText = Annotated[
    str, Field(pattern=id_pattern(QUOTE), examples=["quo_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]


class RateView(Answer):
    """An exact rate: so many minor units bought for so many paid, the spread taken off."""

    numerator: str = Field(examples=["650"])
    denominator: str = Field(examples=["1"])


class PriceView(Answer):
    """What a pair costs now."""

    pay_asset: str
    buy_asset: str
    rate: RateView | None = Field(description="Null: no price is to be had now.")


class RateTableView(Answer):
    """A stored version of the table of rates."""

    version: int
    document: RateTableDocument
    created_by: str | None
    created_at: datetime


class RatesView(Answer):
    """The table of rates in force, and what its pairs cost now."""

    version: int | None = Field(description="Null: no owner has written a table yet.")
    document: RateTableDocument
    created_by: str | None
    created_at: datetime | None
    prices: list[PriceView]


class RateTableList(Answer):
    """A page of versions, newest first."""

    items: list[RateTableView]
    next_cursor: str | None = None


class QuoteBody(StrictModel):
    """A question: what does so much buy, or what does so much cost?"""

    pay_asset: AssetText
    buy_asset: AssetText
    side: Literal["pay", "buy"] = Field(
        description="`pay`: the amount is what is paid; `buy`: it is what is bought."
    )
    amount: AmountText
    purpose: Purpose = Field(
        default=Purpose.PURCHASE,
        description="`conversion`: for a transfer to or from a pocket.",
    )


class QuoteView(Answer):
    """A price that is held until it expires, for one use."""

    id: QuoteIdText
    user_id: UserIdText
    purpose: Purpose
    pay_asset: str
    pay_amount: str
    buy_asset: str
    buy_amount: str
    rate: RateView
    spread_bps: int
    spread: str = Field(
        description="What spread and rounding cost, in minor units of what is bought."
    )
    rate_source: Literal["table", "market"]
    rate_version: int
    created_at: datetime
    expires_at: datetime


def quote_view(quote: Quote) -> QuoteView:
    """Return a quote as the API shows it."""
    return QuoteView(
        id=quote.id,
        user_id=quote.user_id,
        purpose=Purpose(quote.purpose),
        pay_asset=quote.pay_asset,
        pay_amount=str(quote.pay_minor),
        buy_asset=quote.buy_asset,
        buy_amount=str(quote.buy_minor),
        rate=RateView(numerator=str(quote.rate_numerator), denominator=str(quote.rate_denominator)),
        spread_bps=quote.spread_bps,
        spread=str(quote.spread_minor),
        rate_source="table" if quote.rate_source == "table" else "market",
        rate_version=quote.rate_version,
        created_at=quote.created_at,
        expires_at=quote.expires_at,
    )
