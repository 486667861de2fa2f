import io

import pytest

from domain.errors import InvalidUploadError
from domain.ids import PAYOUT, derived_id
from runs.formats import UploadFormat
from runs.lines import FAULTS_SHOWN_MAX, LineReader, RunTarget, first_line

ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TARGET = RunTarget("run_1", "ETH", 18, "evm", "eip155:1")


def reader(*rows: str, header: str = "destination,asset,amount") -> LineReader:
    content = "\n".join([header, *rows]).encode()
    return LineReader(io.BytesIO(content), UploadFormat.CSV, TARGET)


class TestLineReader:
    def test_counts_minor_units(self) -> None:
        (line,) = reader(f"{ADDRESS},ETH,0.25").piece(10)

        assert line.amount_minor == 25 * 10**16
        assert line.payout_id == derived_id(PAYOUT, "run_1", "2")

    def test_reads_in_pieces(self) -> None:
        lines = reader(*(f"{ADDRESS},ETH,{n}" for n in range(1, 6)))
        pieces = [[line.number for line in lines.piece(2)] for _ in range(4)]

        assert pieces == [[2, 3], [4, 5], [6], []]
        lines.faults.refuse_any()

    def test_stores_addresses_in_their_canonical_form_or_as_they_were_written(self) -> None:
        good, bad = reader(f"{ADDRESS.lower()},ETH,1", "nowhere,ETH,1").piece(10)

        assert (good.destination, good.problem_code) == (ADDRESS, None)
        assert (bad.destination, bad.problem_code) == ("nowhere", "invalid_address")
        assert bad.problem_detail

    def test_gives_no_more_lines_after_a_fault_but_reads_on(self) -> None:
        lines = reader(f"{ADDRESS},ETH,1", f"{ADDRESS},ETH,0", *[f"{ADDRESS},BTC,1"] * 200)
        found = lines.piece(1_000)

        assert [line.number for line in found] == [2]
        with pytest.raises(InvalidUploadError) as raised:
            lines.faults.refuse_any()
        assert raised.value.line_count == 201
        assert len(raised.value.lines) == FAULTS_SHOWN_MAX
        assert [f.code for f in raised.value.lines[:2]] == ["invalid_amount", "mixed_assets"]

    @pytest.mark.parametrize(
        "amount",
        [
            *("0", "0.0", "-1", "+1", "1e3", "1,5", "0x1", " 1", "", ".5", "5.", "1" * 79),
            *("٣", "1-٣", "\uff11", "²", "1" * 5_000),
        ],
    )
    def test_refuses_what_is_no_amount(self, amount: str) -> None:
        lines = reader(f'{ADDRESS},ETH,"{amount}"')

        assert lines.piece(1) == []
        assert [f.line for f in lines.faults.shown] == [2]


class TestFirstLine:
    def test_is_behind_what_cannot_be_read(self) -> None:
        file = io.BytesIO(b"destination,asset,amount\n\xff\na,ETH,1\n")

        assert first_line(file, UploadFormat.CSV).number == 3
        assert file.tell() == 0

    def test_of_nothing_is_refused(self) -> None:
        with pytest.raises(InvalidUploadError):
            first_line(io.BytesIO(b""), UploadFormat.CSV)
