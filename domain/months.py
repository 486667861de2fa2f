"""Calendar months in UTC, as statements count them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self, override

from domain.errors import ValidationError

MONTH_PATTERN = r"^[0-9]{4}-(0[1-9]|1[0-2])$"


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month; it begins and ends at midnight UTC."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Return the month that ``2026-11`` names (ISO 8601).

        Raises:
            ValidationError: Not a month from 1970 to 9998.
        """
        if not re.fullmatch(MONTH_PATTERN, text, re.ASCII) or not "1970" <= text[:4] <= "9998":
            msg = "A month is written as 2026-11."
            raise ValidationError(msg)
        return cls(int(text[:4]), int(text[5:]))

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """Return the month that a moment lies in."""
        there = moment.astimezone(UTC)
        return cls(there.year, there.month)

    @property
    def starts_at(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def ends_at(self) -> datetime:
        """The first moment of the next month."""
        return self.after.starts_at

    @property
    def after(self) -> Self:
        """The next month."""
        years, index = divmod(self.year * 12 + self.number, 12)
        return type(self)(years, index + 1)

    @property
    def before(self) -> Self:
        """The month before."""
        years, index = divmod(self.year * 12 + self.number - 2, 12)
        return type(self)(years, index + 1)

    @override
    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"
