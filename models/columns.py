"""Column types that the tables share."""

from typing import Any, override

from sqlalchemy import DateTime, Numeric
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field

from domain.clock import utc_now

MINOR_UNITS = Numeric(78, 0)
"""An integer of minor units that holds uint256."""


class MinorUnits(TypeDecorator[int]):
    """``NUMERIC(78,0)`` in the database, ``int`` in Python: an amount never becomes a Decimal."""

    impl = MINOR_UNITS
    cache_ok = True

    @override
    def process_result_value(self, value: Any, dialect: Any) -> int | None:
        """Return the exact integer."""
        return None if value is None else int(value)


def minor_units(*, nullable: bool = False, default: int | None = None) -> Any:
    """Declare an amount in minor units."""
    if default is None and not nullable:
        return Field(sa_type=MinorUnits, nullable=False)
    return Field(default=default, sa_type=MinorUnits, nullable=nullable)


def timestamp(*, nullable: bool = False, index: bool = False) -> Any:
    """Declare a moment in UTC; a column that may not be null defaults to the present."""
    timezone_aware: Any = DateTime(timezone=True)
    if nullable:
        return Field(default=None, sa_type=timezone_aware, nullable=True, index=index)
    return Field(default_factory=utc_now, sa_type=timezone_aware, nullable=False, index=index)
