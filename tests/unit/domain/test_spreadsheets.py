import csv
import io
from decimal import Decimal

import pytest

from domain.spreadsheets import csv_text, is_formula


@pytest.mark.parametrize("cell", ["=1", "  =1", "x;=1", "x; =1;@a", "x\t+1", "\t1", "x\n-1"])
def test_text_that_is_a_formula_stays_text(cell: str) -> None:
    (written,) = next(csv.reader(io.StringIO(csv_text([[cell]]), newline="")))
    assert is_formula(cell)
    assert not is_formula(written)
    assert written.replace("'", "") == cell


@pytest.mark.parametrize("cell", ["", "INV-1", "a;b", "'=1", "x,=1"])
def test_other_text_is_written_as_it_is(cell: str) -> None:
    (written,) = next(csv.reader(io.StringIO(csv_text([[cell, "x"]]))))[:1]
    assert written == cell


@pytest.mark.parametrize(
    ("minor", "decimals", "written"),
    [(1, 18, "0.000000000000000001"), (0, 18, "0.000000000000000000"), (-15, 8, "-0.00000015")],
)
def test_a_number_is_written_without_an_exponent(minor: int, decimals: int, written: str) -> None:
    """Programs that read a statement take ``0E-18`` for text, and people for a mistake."""
    assert csv_text([[Decimal(minor).scaleb(-decimals), minor]]) == f"{written},{minor}\r\n"
