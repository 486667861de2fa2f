"""Calendar months."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ValidationError
from domain.months import Month

months = st.builds(Month, st.integers(1970, 9997), st.integers(1, 12))


@given(months)
def test_months_follow_each_other_without_a_gap(month: Month) -> None:
    assert month.ends_at == month.after.starts_at
    assert month.after.before == month
    assert month < month.after
    assert timedelta(28) <= month.ends_at - month.starts_at <= timedelta(31)


@given(months)
def test_a_month_is_read_as_it_is_written(month: Month) -> None:
    assert Month.parse(str(month)) == month
    assert Month.of(month.starts_at) == month
    assert Month.of(month.ends_at - timedelta(microseconds=1)) == month


def test_a_month_is_counted_in_utc() -> None:
    east = timezone(timedelta(hours=9))
    assert Month.of(datetime(2026, 12, 1, 8, tzinfo=east)) == Month(2026, 11)
    assert Month.of(datetime(2026, 12, 1, 8, tzinfo=UTC)) == Month(2026, 12)


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-13", "2026-00", "2026-1", "1969-12", "9999-01", "٢٠٢٦-11", "2026-11 "],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Month.parse(text)
