import pytest

from domain.errors import InvalidAmountError
from domain.money import UINT256_MAX, format_units, parse_minor, parse_units


class TestMinorUnits:
    @pytest.mark.parametrize("text", ["1", "007", str(UINT256_MAX)])
    def test_are_read_exactly(self, text: str) -> None:
        assert parse_minor(text) == int(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0",
            "-1",
            "+1",
            "1.0",
            "1e3",
            " 1",
            "1\n",
            "1_000",
            "٣",
            "²",
            "0x1",
            "NaN",
            str(UINT256_MAX + 1),
            "9" * 79,
        ],
    )
    def test_are_refused_in_any_other_spelling(self, text: str) -> None:
        with pytest.raises(InvalidAmountError):
            parse_minor(text)


class TestWholeUnits:
    @pytest.mark.parametrize(
        ("text", "decimals", "amount_minor"),
        [
            ("1", 18, 10**18),
            ("1.5", 18, 15 * 10**17),
            ("0.000000000000000001", 18, 1),
            ("00.10", 2, 10),
            ("12", 0, 12),
        ],
    )
    def test_are_read_exactly(self, text: str, decimals: int, amount_minor: int) -> None:
        assert parse_units(text, decimals=decimals) == amount_minor

    @pytest.mark.parametrize("text", ["", ".5", "5.", "1,5", "-1", "1e3", "0", "0.00", "1.234"])
    def test_are_refused_in_any_other_spelling(self, text: str) -> None:
        with pytest.raises(InvalidAmountError):
            parse_units(text, decimals=2)

    @pytest.mark.parametrize(
        ("amount_minor", "decimals", "text"),
        [
            (10**18, 18, "1"),
            (1, 18, "0.000000000000000001"),
            (0, 18, "0"),
            (1_000, 0, "1000"),
            (1_000, 2, "10"),
            (-150, 2, "-1.5"),
            (UINT256_MAX, 0, str(UINT256_MAX)),
        ],
    )
    def test_are_written_without_loss(self, amount_minor: int, decimals: int, text: str) -> None:
        assert format_units(amount_minor, decimals=decimals) == text
