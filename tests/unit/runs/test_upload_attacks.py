"""Uploads that should be refused and are not."""

import io
from typing import override

import pytest

from domain.errors import FaultyLine
from domain.runs import LINES_MAX
from runs.formats import UploadFormat, read_lines

ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def codes(reference: str) -> list[str]:
    content = f"destination,asset,amount,reference\n{ADDRESS},ETH,1,{reference}\n".encode()
    found = read_lines(io.BytesIO(content), UploadFormat.CSV)
    return [line.code for line in found if isinstance(line, FaultyLine)]


@pytest.mark.xfail(strict=True, reason="format characters outside the listed ranges pass")
@pytest.mark.parametrize("character", ["\u200b", "\u200d", "\u2060", "\u00ad", "\u200f", "\u061c"])
def test_invisible_characters_are_refused(character: str) -> None:
    """
    docs/how-to/pay-in-bulk.md: ``control_character`` refuses "invisible characters in a cell".

    Two references that look the same are then two payments: nobody sees the repetition.
    """
    assert codes(f"INV-1{character}") == ["control_character"]


@pytest.mark.xfail(strict=True, reason="only the beginning of a cell is looked at")
def test_a_formula_after_a_semicolon_is_refused() -> None:
    """Spreadsheets of half the world part a CSV file's cells at semicolons."""
    assert codes("x;=HYPERLINK(0)") == ["formula"]


class Counted(io.BytesIO):
    """Counts the lines that are read of it."""

    count = 0

    @override
    def readline(self, size: int | None = -1, /) -> bytes:
        self.count += 1
        return super().readline(size)


@pytest.mark.xfail(strict=True, reason="blank lines are read to the end before they are refused")
def test_blank_lines_are_not_read_without_end() -> None:
    """32 MiB of them keep a thread busy, and the interpreter's lock, for 15 s."""
    file = Counted(f"destination,asset,amount\n{ADDRESS},ETH,1\n".encode() + b"\n" * 4 * LINES_MAX)
    assert list(read_lines(file, UploadFormat.CSV))
    assert file.count <= LINES_MAX + 10
