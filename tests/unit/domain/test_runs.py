import pytest

from domain.errors import InvalidLinesError
from domain.runs import LINES_MAX, LineRange, parse_lines


class TestParseLines:
    def test_reads_lines_and_ranges_in_any_order(self) -> None:
        found = parse_lines("701, 2-500,9999")
        assert found == (LineRange(2, 500), LineRange(701, 701), LineRange(9999, 9999))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "-",
            "7-",
            "-7",
            "1-2-3",
            "1--3",
            "+1",
            "1_000",
            "0",
            "0-5",
            "5-2",
            "2,2",
            "1-3,3-4",
            "٣",
            "1-٣",
            "٣-5",
            "\uff11-\uff12",
            "²",
            "2 - 5",
            str(2 * LINES_MAX + 1),
            "1-" + "9" * 5_000,
            "9" * 5_000,
        ],
    )
    def test_refuses_what_names_no_lines(self, text: str) -> None:
        with pytest.raises(InvalidLinesError) as refused:
            parse_lines(text)
        assert len(refused.value.detail) < 100
