"""The table of rates: what is sold, for what, at which price, and how payments are judged."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from domain.errors import InvalidRateTableError, PairNotListedError
from domain.rates import BPS, Guard, parse_price

_MINOR = r"^[0-9]{1,78}$"


class Purpose(StrEnum):
    """What a rate, and a quote of it, is for."""

    PURCHASE = "purchase"
    """What is paid on a chain or by card buys an internal asset."""
    CONVERSION = "conversion"
    """What a user owns becomes another asset on its way to or from their pocket."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PairTerms(_Document):
    """An asset that is sold for another, and at which price."""

    pay_asset: str = Field(examples=["BTC"], description="What pays.")
    buy_asset: str = Field(
        examples=["ITD"], description="What is bought; of a purchase: an internal asset."
    )
    purposes: tuple[Purpose, ...] = Field(
        default=(Purpose.PURCHASE,),
        min_length=1,
        max_length=2,
        description="`conversion`: also from one to the other on the way to and from pockets.",
    )
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


@dataclass(frozen=True, slots=True)
class Leg:
    """A pair as one step of a conversion: as it is listed, or the other way round."""

    pair: PairTerms
    is_inverted: bool = False

    @property
    def pay_asset(self) -> str:
        """What this step takes."""
        return self.pair.buy_asset if self.is_inverted else self.pair.pay_asset

    @property
    def buy_asset(self) -> str:
        """What this step gives."""
        return self.pair.pay_asset if self.is_inverted else self.pair.buy_asset

    @property
    def kept(self) -> Fraction:
        """The share that is left when the spread is taken off."""
        return Fraction(BPS - self.pair.spread_bps, BPS)


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

    def legs_of(self, pay_asset: str, buy_asset: str, purpose: Purpose) -> tuple[Leg, ...]:
        """
        Return the steps from one asset to another: one, or of a conversion at most two.

        A pair that is listed for conversions is taken either way, and two that share an asset are
        taken one after the other: each step's price and spread count.

        Raises:
            PairNotListedError: Nobody sells this for that.
        """
        steps = list(self._steps(purpose))
        for leg in steps:
            if (leg.pay_asset, leg.buy_asset) == (pay_asset, buy_asset):
                return (leg,)
        if purpose == Purpose.CONVERSION and pay_asset != buy_asset:
            for first in steps:
                for second in steps:
                    ends = (first.pay_asset, second.buy_asset)
                    if ends == (pay_asset, buy_asset) and first.buy_asset == second.pay_asset:
                        return (first, second)
        msg = f"{buy_asset} is not sold for {pay_asset}."
        raise PairNotListedError(msg)

    def _steps(self, purpose: Purpose) -> Iterator[Leg]:
        listed = [pair for pair in self.pairs if purpose in pair.purposes]
        yield from (Leg(pair) for pair in listed)
        if purpose == Purpose.CONVERSION:
            yield from (Leg(pair, is_inverted=True) for pair in listed)


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
