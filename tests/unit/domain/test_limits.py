from datetime import timedelta
from typing import Any

import pytest

from domain.errors import InvalidLimitsError
from domain.limits import Limit, LimitStanding, Window, parse_limits

ROW = {"level": 1, "operation": "payout", "asset": "ETH", "window": "24h", "count": 5}


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"limits": list(rows)}


class TestParseLimits:
    def test_reads_rows(self) -> None:
        found = parse_limits(document(ROW, ROW | {"level": 2}, ROW | {"window": "30d"}))
        assert [(limit.level, limit.name) for limit in found.limits] == [
            (1, "payout:ETH:24h"),
            (2, "payout:ETH:24h"),
            (1, "payout:ETH:30d"),
        ]

    def test_takes_an_empty_table(self) -> None:
        assert parse_limits({}).limits == ()

    @pytest.mark.parametrize(
        "row",
        [
            ROW | {"level": 4},
            ROW | {"level": -1},
            ROW | {"operation": "theft"},
            ROW | {"window": "7d"},
            ROW | {"asset": ""},
            ROW | {"count": -1},
            ROW | {"count": None},
            ROW | {"count": 1.5},
            ROW | {"count": True},
            ROW | {"count": "5"},
            ROW | {"level": "1"},
            ROW | {"count": 2**31},
            ROW | {"amount_minor": "1.5"},
            ROW | {"amount_minor": "-1"},
            ROW | {"amount_minor": ""},
            ROW | {"amount_minor": "1" * 79},
            ROW | {"asset": "*", "amount_minor": "1"},
            ROW | {"extra": 1},
        ],
    )
    def test_refuses_a_row(self, row: dict[str, Any]) -> None:
        with pytest.raises(InvalidLimitsError):
            parse_limits(document(row))

    def test_refuses_a_row_that_is_there_twice(self) -> None:
        with pytest.raises(InvalidLimitsError, match="twice"):
            parse_limits(document(ROW, ROW | {"count": None, "amount_minor": "7"}))

    def test_refuses_more_rows_than_it_keeps(self) -> None:
        rows = [ROW | {"asset": f"A{n}"} for n in range(1_001)]
        with pytest.raises(InvalidLimitsError):
            parse_limits(document(*rows))


class TestLimit:
    def test_of_all_assets_counts_any(self) -> None:
        assert Limit.model_validate(ROW | {"asset": "*"}).counts("USD")
        assert not Limit.model_validate(ROW).counts("USD")

    def test_may_forbid_an_operation(self) -> None:
        assert Limit.model_validate(ROW | {"count": 0}).count == 0


class TestLimitStanding:
    def test_remains_what_is_not_used_and_never_less_than_nothing(self) -> None:
        limit = Limit.model_validate(ROW | {"amount_minor": "100"})
        standing = LimitStanding(limit, 7, 40, None)
        assert (standing.remaining_count, standing.remaining_minor) == (0, 60)

    def test_says_nothing_of_what_is_not_capped(self) -> None:
        standing = LimitStanding(Limit.model_validate(ROW), 1, None, None)
        assert (standing.remaining_count, standing.remaining_minor) == (4, None)


def test_windows_have_their_length() -> None:
    assert [w.length for w in Window] == [timedelta(hours=24), timedelta(days=30)]
