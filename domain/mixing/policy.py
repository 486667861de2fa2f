"""What one mixer promises: its fee, amounts, numbers and times. Checked as a whole when written."""

from datetime import timedelta
from fractions import Fraction
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.errors import InvalidMixerPolicyError
from domain.mixing.denominations import denominations, fewest_max
from domain.mixing.fees import least_deposit_minor, split_fee

ADDRESSES_MAX: Final = 20
"""Withdrawal addresses of one mix."""
PARTS_MAX: Final = 500
SECONDS_MAX: Final = 366 * 86_400
"""Of a delay, a window or a time to wait: moments far beyond cannot be written."""
ROUNDING_MAX: Final = Fraction(1, 20)
"""Most that rounding may add to the fee, of the smallest deposit."""


class MixerPolicy(BaseModel):
    """
    The terms that a mixer's users agree to; amounts are minor units.

    Raises:
        ValueError: They contradict one another; the message says how.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fee_numerator: int = Field(ge=0)
    fee_denominator: int = Field(ge=1)
    dole_min_minor: int = Field(ge=1)
    """The smallest denomination: a power of ten. Nothing smaller is ever paid."""
    dole_max_minor: int = Field(ge=1)
    """The largest: of the series 1, 2, 5, 10, …"""
    parts_min: int = Field(ge=1)
    """A mix leaves in at least so many parts, and in one to each withdrawal address."""
    parts_max: int = Field(ge=2, le=PARTS_MAX)
    deposit_min_minor: int = Field(ge=1)
    """What is less is not mixed: it is given to its user's balance."""
    deposit_max_minor: int = Field(ge=1)
    delay_min_s: int = Field(ge=0, le=SECONDS_MAX)
    """No part leaves sooner after its deposit is confirmed."""
    window_s: int = Field(ge=1, le=SECONDS_MAX)
    """Over so long a time the parts leave."""
    slot_s: int = Field(ge=1)
    """Parts leave at multiples of this, those of all users together."""
    expires_after_s: int = Field(default=86_400, ge=60, le=SECONDS_MAX)
    """So long a mix awaits its deposit."""
    takes_late: bool = False
    """A deposit that is seen after that is mixed all the same; else it is its user's balance."""

    @property
    def fee(self) -> Fraction:
        """The fee as the exact fraction of a deposit."""
        return Fraction(self.fee_numerator, self.fee_denominator)

    @property
    def series(self) -> tuple[int, ...]:
        """The amounts that parts are of, rising."""
        return denominations(self.dole_min_minor, self.dole_max_minor)

    @property
    def parts_asked_max(self) -> int:
        """Most parts that a user may ask for, whatever they pay in."""
        split = split_fee(self.deposit_min_minor, self.fee, grain_minor=self.dole_min_minor)
        return min(self.parts_max - 1, split.owed_minor // self.dole_min_minor)

    @property
    def window(self) -> timedelta:
        """How long the parts take to leave."""
        return timedelta(seconds=self.window_s)

    @property
    def slot(self) -> timedelta:
        """How long a slot is."""
        return timedelta(seconds=self.slot_s)

    @property
    def delay_min(self) -> timedelta:
        """How long no part leaves."""
        return timedelta(seconds=self.delay_min_s)

    @model_validator(mode="after")
    def _check_fee(self) -> Self:
        _require(self.fee_numerator < self.fee_denominator, "the fee is less than the whole")
        return self

    @model_validator(mode="after")
    def _check_amounts(self) -> Self:
        series = self.series  # raises for what is not of the series
        _require(self.deposit_min_minor <= self.deposit_max_minor, "deposits from least to most")
        asked = max(self.parts_min, ADDRESSES_MAX)
        least_minor = least_deposit_minor(asked * series[0], self.fee)
        _require(
            self.deposit_min_minor >= least_minor,
            f"the smallest deposit, less the fee, makes {asked} parts: it is {least_minor} or more",
        )
        # Rounding takes less than one of the smallest: that must be little beside any deposit.
        _require(
            series[0] <= self.deposit_min_minor * ROUNDING_MAX,
            "the smallest denomination is at most a twentieth of the smallest deposit",
        )
        owed = split_fee(self.deposit_max_minor, self.fee, grain_minor=series[0]).owed_minor
        most = max(asked + 1, fewest_max(owed, series))
        _require(self.parts_max >= most, f"the largest deposit may take {most} parts")
        return self

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        _require(self.window_s >= self.slot_s, "a window is at least one slot")
        return self


def parse_mixer_policy(raw: object) -> MixerPolicy:
    """
    Return the policy that this JSON value describes.

    Raises:
        InvalidMixerPolicyError: Malformed, or it contradicts itself.
    """
    try:
        return MixerPolicy.model_validate(raw)
    except ValueError as error:
        raise InvalidMixerPolicyError(str(error)) from error


def _require(holds: bool, what: str) -> None:  # noqa: FBT001
    if not holds:
        msg = f"It must hold that {what}."
        raise ValueError(msg)
