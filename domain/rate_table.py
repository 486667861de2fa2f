"""The table of rates: what is sold, for what, at which price, and how payments are judged."""

from datetime import timedelta
from fractions import Fraction

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from domain.errors import InvalidRateTableError, PairNotListedError
from domain.rates import BPS, Guard, parse_price

_MINOR = r"^[0-9]{1,78}$"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PairTerms(_Document):
    """An asset that is sold for another, and at which price."""

    pay_asset: str = Field(examples=["BTC"], description="What pays.")
    buy_asset: str = Field(examples=["ITD"], description="What is bought: an internal asset.")
    price: str | None = Field(
        default=None,
        max_length=61,
        examples=["65000.5"],
        description="Whole units bought for one whole unit paid; null: as the market says.",
    )
    symbol: str | None = Field(
        default=None,
        pattern=r"^[A-Z0-9]{1,16}-[A-Z0-9]{1,16}$",
        examples=["BTC-USD"],
        description="What the sources are asked for where there is no price.",
    )
    spread_bps: int = Field(
        default=0, ge=0, le=BPS // 2, description="What is kept, in 1/100 of a percent."
    )
    pay_min_minor: str = Field(default="1", pattern=_MINOR, description="Least that may be paid.")
    pay_max_minor: str | None = Field(
        default=None, pattern=_MINOR, description="Most that may be paid; null: no bound."
    )

    @field_validator("price")
    @classmethod
    def _check_price(cls, price: str | None) -> str | None:
        if price is not None:
            parse_price(price)
        return price

    @model_validator(mode="after")
    def _check_source(self) -> "PairTerms":
        if (self.price is None) == (self.symbol is None):
            msg = "A pair has either a price or a symbol."
            raise ValueError(msg)
        return self

    @property
    def fixed_price(self) -> Fraction | None:
        """The price that an admin wrote down."""
        return None if self.price is None else parse_price(self.price)


class RateTableDocument(_Document):
    """What is sold, and the terms that hold for every purchase."""

    pairs: tuple[PairTerms, ...] = Field(default=(), max_length=200)
    quote_s: int = Field(default=60, ge=5, le=3_600, description="A quote holds for so long.")
    chain_window_s: int = Field(
        default=3_600, ge=60, le=86_400, description="A payment on a chain is seen within this."
    )
    card_window_s: int = Field(
        default=1_800, ge=60, le=86_400, description="A card pays within this."
    )
    settle_grace_s: int = Field(
        default=21_600,
        ge=0,
        le=7 * 86_400,
        description="What was seen in time is credited within this after the window.",
    )
    late_tolerance_bps: int = Field(
        default=100,
        ge=0,
        le=BPS,
        description="A late payment still buys where the rate moved by no more.",
    )
    age_max_s: int = Field(
        default=120, ge=1, le=86_400, description="A source's price is fresh for so long."
    )
    sources_min: int = Field(
        default=2, ge=1, le=20, description="So many sources are fresh and agree."
    )
    deviation_max_bps: int = Field(
        default=200,
        ge=1,
        le=BPS,
        description="A source further from the median of all is left out.",
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> "RateTableDocument":
        names = [(pair.pay_asset, pair.buy_asset) for pair in self.pairs]
        if len(set(names)) < len(names):
            msg = "A pair is listed twice."
            raise ValueError(msg)
        return self

    @property
    def guard(self) -> Guard:
        """What makes the market's price trustworthy."""
        return Guard(timedelta(seconds=self.age_max_s), self.sources_min, self.deviation_max_bps)

    @property
    def symbols(self) -> frozenset[str]:
        """Return what the sources are asked for."""
        return frozenset(pair.symbol for pair in self.pairs if pair.symbol is not None)

    def terms_of(self, pay_asset: str, buy_asset: str) -> PairTerms:
        """
        Return the terms of a pair.

        Raises:
            PairNotListedError: Nobody sells this for that.
        """
        for pair in self.pairs:
            if (pair.pay_asset, pair.buy_asset) == (pay_asset, buy_asset):
                return pair
        msg = f"{buy_asset} is not sold for {pay_asset}."
        raise PairNotListedError(msg)


def parse_rate_table(document: object) -> RateTableDocument:
    """
    Return the checked document.

    Raises:
        InvalidRateTableError: With the first field at fault.
    """
    try:
        return RateTableDocument.model_validate(document)
    except ValidationError as error:
        found = error.errors()[0]
        field = ".".join(str(part) for part in found["loc"])
        raise InvalidRateTableError(f"{field}: {found['msg']}" if field else found["msg"]) from None
