import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidAmountError
from domain.money import UINT256_MAX, format_units, parse_minor, parse_units

amounts = st.integers(min_value=1, max_value=UINT256_MAX)


class TestAmounts:
    @given(amounts, st.integers(min_value=0, max_value=59))
    def test_survive_being_written_for_people(self, amount_minor: int, decimals: int) -> None:
        text = format_units(amount_minor, decimals=decimals)
        if len(text.split(".")[0]) > 60:
            return
        assert parse_units(text, decimals=decimals) == amount_minor

    @given(amounts)
    def test_survive_json(self, amount_minor: int) -> None:
        assert parse_minor(str(amount_minor)) == amount_minor

    @given(st.text(max_size=90))
    def test_are_positive_uint256_or_refused(self, text: str) -> None:
        try:
            amount_minor = parse_minor(text)
        except InvalidAmountError:
            return
        assert 0 < amount_minor <= UINT256_MAX
        assert text.isascii()
        assert text.isdigit()

    @given(st.text(max_size=90), st.integers(min_value=0, max_value=77))
    def test_of_whole_units_never_fail_otherwise(self, text: str, decimals: int) -> None:
        try:
            assert 0 < parse_units(text, decimals=decimals) <= UINT256_MAX
        except InvalidAmountError:
            return

    @given(amounts, st.integers(min_value=1, max_value=30))
    def test_with_too_many_decimals_are_refused(self, amount_minor: int, decimals: int) -> None:
        fraction = str(amount_minor % 10**decimals).rjust(decimals + 1, "0")
        with pytest.raises(InvalidAmountError):
            parse_units(f"1.{fraction}", decimals=decimals)
