"""From the lines of a file to what is stored of them, in pieces and without looking anything up."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from domain.addresses import parse_address
from domain.errors import FaultyLine, InvalidAddressError, InvalidAmountError, InvalidUploadError
from domain.ids import PAYOUT, derived_id
from domain.money import parse_minor, parse_units
from runs.formats import Fault, RawLine, UploadFormat, read_lines

FAULTS_SHOWN_MAX: Final = 100


class CheckedLine(NamedTuple):
    """A row of ``payout_run_line``, in the order of its columns."""

    run_id: str
    number: int
    payout_id: str
    destination: str
    amount_minor: int
    reference: str | None
    note: str | None
    problem_code: str | None
    problem_detail: str | None


@dataclass(frozen=True, slots=True)
class RunTarget:
    """The run that lines belong to, and what they are in."""

    run_id: str
    asset: str
    decimals: int
    family: str
    chain_id: str


@dataclass(slots=True)
class Faults:
    """What cannot be read: the first lines, and how many there are."""

    shown: list[FaultyLine] = field(default_factory=list)
    count: int = 0

    def add(self, fault: FaultyLine) -> None:
        """Count one more."""
        self.count += 1
        if len(self.shown) < FAULTS_SHOWN_MAX:
            self.shown.append(fault)

    def refuse_any(self) -> None:
        """
        Pass if there is none.

        Raises:
            InvalidUploadError: With the faults that are kept.
        """
        if self.count:
            lines = "line" if self.count == 1 else "lines"
            msg = f"{self.count} {lines} cannot be read; nothing was stored."
            raise InvalidUploadError(msg, lines=self.shown, line_count=self.count)


def first_line(file: BinaryIO, form: UploadFormat) -> RawLine:
    """
    Return the first line that can be read, and go back to the file's beginning.

    Raises:
        InvalidUploadError: Not one line can be read.
    """
    faults, found = Faults(), None
    for line in read_lines(file, form):
        if isinstance(line, RawLine):
            found = line
            break
        faults.add(line)
    file.seek(0)
    if found is None:
        faults.refuse_any()
        msg = "The file has no payments."
        raise InvalidUploadError(msg)
    return found


class LineReader:
    """Reads a file's lines for one run, piece by piece."""

    def __init__(self, file: BinaryIO, form: UploadFormat, target: RunTarget) -> None:
        """Take the file at its beginning."""
        self._lines = self._read(file, form)
        self._target = target
        self.faults = Faults()

    def piece(self, count: int) -> list[CheckedLine]:
        """
        Return the next lines that can be read, fewer than ``count`` at the end.

        From the first fault on there are no more: the rest of the file is read for its faults.
        """
        found: list[CheckedLine] = []
        for line in self._lines:
            found.append(line)
            if len(found) == count:
                break
        return found

    def _read(self, file: BinaryIO, form: UploadFormat) -> Iterator[CheckedLine]:
        for line in read_lines(file, form):
            checked = line if isinstance(line, FaultyLine) else self._checked(line)
            if isinstance(checked, FaultyLine):
                self.faults.add(checked)
            elif not self.faults.count:
                yield checked

    def _checked(self, line: RawLine) -> CheckedLine | FaultyLine:
        target = self._target
        if line.asset != target.asset:
            detail = f"The lines before are in {target.asset}; a run has one asset."
            return FaultyLine(line.number, Fault.MIXED_ASSETS, detail)
        try:
            amount_minor = (
                parse_minor(line.amount)
                if line.is_minor
                else parse_units(line.amount, decimals=target.decimals)
            )
        except InvalidAmountError:
            return FaultyLine(line.number, Fault.AMOUNT, self._amount_form(line))
        destination, problem = line.destination, None
        try:
            destination = parse_address(
                line.destination, family=target.family, chain_id=target.chain_id
            )
        except InvalidAddressError as error:
            problem = error
        return CheckedLine(
            target.run_id,
            line.number,
            derived_id(PAYOUT, target.run_id, str(line.number)),
            destination,
            amount_minor,
            line.reference,
            line.note,
            problem.code if problem else None,
            problem.detail if problem else None,
        )

    def _amount_form(self, line: RawLine) -> str:
        if line.is_minor:
            return "'amount_minor' is a whole number above 0, in digits, below 2^256."
        decimals = self._target.decimals
        return f"'amount' is a number above 0 with at most {decimals} decimals, below 2^256 minor."
