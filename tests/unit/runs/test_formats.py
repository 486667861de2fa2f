import csv
import io
import json
from collections import deque
from typing import Any, override

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import FaultyLine
from domain.runs import LINES_MAX
from domain.spreadsheets import is_formula
from runs.formats import BLANK_LINES_MAX, LINE_BYTES_MAX, Fault, RawLine, UploadFormat, read_lines

HEADER = b"destination,asset,amount\n"
LINE_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp", "Cs"]), max_size=60
).filter(lambda text: not is_formula(text))


@st.composite
def payments(draw: st.DrawFn) -> list[dict[str, str]]:
    """Draw lines with the same columns in any order."""
    amount = draw(st.sampled_from(["amount", "amount_minor"]))
    optional = draw(st.lists(st.sampled_from(["reference", "note"]), unique=True))
    names = draw(st.permutations(["destination", "asset", amount, *optional]))
    kinds = dict.fromkeys(names, TEXT) | {
        "destination": TEXT.filter(bool),
        "asset": st.sampled_from(["ETH", "BTC", "A.b-9"]),
        amount: st.sampled_from(["1", "0.25", "007", "9" * 78]),
    }
    row = st.fixed_dictionaries({name: kinds[name] for name in names})
    return draw(st.lists(row, min_size=1, max_size=8))


def expected(rows: list[dict[str, str]], first: int) -> list[RawLine]:
    return [
        RawLine(
            number,
            row["destination"],
            row["asset"],
            row.get("amount", row.get("amount_minor", "")),
            "amount_minor" in row,
            row.get("reference") or None,
            row.get("note") or None,
        )
        for number, row in enumerate(rows, first)
    ]


def read(content: bytes, form: UploadFormat = UploadFormat.CSV) -> list[Any]:
    return list(read_lines(io.BytesIO(content), form))


def faults(content: bytes, form: UploadFormat = UploadFormat.CSV) -> list[tuple[int, str]]:
    return [(f.line, f.code) for f in read(content, form) if isinstance(f, FaultyLine)]


class TestRoundTrip:
    @given(rows=payments(), end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
    def test_of_csv_brings_back_what_was_written(
        self, rows: list[dict[str, str]], end: str, *, bom: bool
    ) -> None:
        written = io.StringIO()
        writer = csv.DictWriter(written, list(rows[0]), lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
        content = written.getvalue().encode("utf-8-sig" if bom else "utf-8")

        assert read(content) == expected(rows, 2)
        assert read(content.removesuffix(end.encode())) == expected(rows, 2)

    @given(rows=payments(), as_ascii=st.booleans())
    def test_of_json_lines_brings_back_what_was_written(
        self, rows: list[dict[str, str]], *, as_ascii: bool
    ) -> None:
        text = "".join(json.dumps(row, ensure_ascii=as_ascii) + "\n" for row in rows)

        assert read(text.encode(), UploadFormat.JSON_LINES) == expected(rows, 1)


class TestReading:
    @given(content=st.binary(max_size=300), form=st.sampled_from(UploadFormat))
    def test_of_any_bytes_answers_lines_in_order(self, content: bytes, form: UploadFormat) -> None:
        numbers = [found[0] for found in read(content, form)]

        assert numbers == sorted(set(numbers))
        assert all(1 <= number <= content.count(b"\n") + 1 for number in numbers)

    @given(body=st.binary(max_size=200))
    def test_never_lets_through_what_a_screen_would_act_on(self, body: bytes) -> None:
        for found in read(HEADER.replace(b"\n", b",note\n") + body):
            if isinstance(found, RawLine):
                text = found.destination + found.asset + (found.note or "")
                assert not set(text) & set(LINE_BREAKS + "\x00\x1b\u202e")
                assert not is_formula(found.destination)
                assert not is_formula(found.note or "")

    def test_stops_after_the_last_line_that_a_run_may_have(self) -> None:
        asked = 0

        class Endless(io.RawIOBase):
            @override
            def readline(self, size: int | None = -1, /) -> bytes:
                nonlocal asked
                del size
                asked += 1
                return b"a,ETH,1\n" if asked > 1 else HEADER

        found = read_lines(Endless(), UploadFormat.CSV)  # type: ignore[arg-type]
        (last,) = deque(found, maxlen=1)

        assert isinstance(last, FaultyLine)
        assert (last.line, last.code) == (LINES_MAX + 2, Fault.TOO_MANY_LINES)
        assert asked == LINES_MAX + 2

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
    def test_takes_a_line_of_exactly_the_limit(self, end: bytes) -> None:
        longest = b'"a","ETH","' + b"1" * (LINE_BYTES_MAX - 12) + b'"'

        assert len(longest) == LINE_BYTES_MAX
        assert faults(HEADER + longest + end) == [(2, Fault.TOO_LONG)]
        assert faults(HEADER + longest + b" " + end) == [(2, Fault.LINE_TOO_LONG)]

    @pytest.mark.parametrize("times", [1, 2, 3])
    @pytest.mark.parametrize("more", range(5))
    def test_goes_on_behind_a_line_that_is_too_long(self, times: int, more: int) -> None:
        length = LINE_BYTES_MAX * times + more
        content = HEADER + b"x" * length + b"\na,ETH,1\n"
        expected_code = Fault.LINE_TOO_LONG if length > LINE_BYTES_MAX else Fault.MALFORMED

        assert read(content)[1] == RawLine(3, "a", "ETH", "1", False, None, None)  # noqa: FBT003
        assert faults(content) == [(2, expected_code)]

    def test_forgives_blank_lines_at_the_end_alone(self) -> None:
        assert faults(HEADER + b"a,ETH,1\n\n\r\n") == []
        assert faults(HEADER + b"\na,ETH,1\n\n\nb,ETH,1\n") == [
            (2, Fault.BLANK_LINE),
            (4, Fault.BLANK_LINE),
            (5, Fault.BLANK_LINE),
        ]


class Counted(io.BytesIO):
    """Counts the lines that are read of it."""

    count = 0

    @override
    def readline(self, size: int | None = -1, /) -> bytes:
        self.count += 1
        return super().readline(size)


class TestBlankLines:
    def test_are_not_read_without_end(self) -> None:
        """32 MiB of them kept a thread busy, and the interpreter's lock, for 15 s."""
        file = Counted(HEADER + b"a,ETH,1\n" + b"\n" * 4 * LINES_MAX)

        *_, last = read_lines(file, UploadFormat.CSV)
        assert isinstance(last, FaultyLine)
        assert last[:2] == (3, Fault.BLANK_LINE)
        assert file.count <= BLANK_LINES_MAX + 10

    def test_at_the_end_are_forgiven_as_many_as_an_editor_leaves(self) -> None:
        assert faults(HEADER + b"a,ETH,1\n" + b"\n" * BLANK_LINES_MAX) == []


class TestInvisible:
    @pytest.mark.parametrize("code", [0x200B, 0x200D, 0x2060, 0xAD, 0x200F, 0x61C, 0xE0041])
    @pytest.mark.parametrize("form", UploadFormat)
    def test_characters_are_refused(self, form: UploadFormat, code: int) -> None:
        """Two references that look the same would be two payments: nobody sees the repetition."""
        reference = f"INV-1{chr(code)}"
        if form is UploadFormat.CSV:
            content = f"destination,asset,amount,reference\na,ETH,1,{reference}\n"
        else:
            cells = {"destination": "a", "asset": "ETH", "amount": "1", "reference": reference}
            content = json.dumps(cells, ensure_ascii=False)
        (found,) = read_lines(io.BytesIO(content.encode()), form)
        assert isinstance(found, FaultyLine)
        assert found.code == Fault.CONTROL_CHARACTER

    @pytest.mark.parametrize("name", ["Ärzte", "東京　支店", "שלום", "a\u00a0b"])
    def test_is_nothing_that_people_write(self, name: str) -> None:
        content = f"destination,asset,amount,reference\na,ETH,1,{name}\n".encode()
        (found,) = read_lines(io.BytesIO(content), UploadFormat.CSV)
        assert isinstance(found, RawLine)
        assert found.reference == name


class TestFormula:
    @pytest.mark.parametrize(
        "text",
        ["=1", "+1", "-1", "@a", "\t1", "\r1", "  =1", "\uff1d1", "x;=1", "x; =1", "x\t@a", ";-"],
    )
    def test_is_what_a_spreadsheet_would_compute(self, text: str) -> None:
        assert is_formula(text)

    @pytest.mark.parametrize("text", ["", "a=1", "1-2", "INV-1", "'=1", "a;b=1", "a; b", "x,=1"])
    def test_is_not_what_it_would_show(self, text: str) -> None:
        assert not is_formula(text)
