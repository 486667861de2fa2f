"""A statement as pages: a summary of every balance, then each section's lines (ISO 32000, A4)."""

from collections.abc import Sequence
from itertools import groupby
from typing import IO, Final, override

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from domain.money import format_units
from transactions.statements import Section, Statement, StatementEntry
from transactions.wording import placed, told

_INK, _PALE, _RULE, _ACCENT = (28, 32, 38), (110, 118, 129), (208, 213, 219), (20, 83, 136)
_ZEBRA: Final = (245, 247, 250)
_MARGIN_MM, _ROW_MM = 16.0, 5.6
_SUMMARY_MM: Final = (18.0, 28.0, 33.0, 33.0, 33.0, 33.0)
_LINES_MM: Final = (27.0, 73.0, 39.0, 39.0)
_SHOWN_CHARACTERS_MAX: Final = 44
_PADDING_MM: Final = 2.2


class _Pages(FPDF):
    """A4 pages with the statement's head and foot."""

    def __init__(self, statement: Statement) -> None:
        super().__init__(format="A4", unit="mm")
        self._statement = statement
        self.set_margin(_MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=_MARGIN_MM + 6)
        self.set_title(f"Statement {statement.month}")
        self.set_creator("Strongroom")
        self.set_lang("en")
        self.set_creation_date(statement.made_at)

    @override
    def header(self) -> None:
        self.set_font("helvetica", style="B", size=9)
        self.set_text_color(*_ACCENT)
        self.cell(0, 5, "Strongroom")
        self.set_font("helvetica", size=9)
        self.set_text_color(*_PALE)
        title = f"Statement of account, {self._statement.month}"
        self.cell(0, 5, title, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.rule()
        self.ln(5)

    @override
    def footer(self) -> None:
        self.set_y(-_MARGIN_MM)
        self.set_font("helvetica", size=7.5)
        self.set_text_color(*_PALE)
        made = f"{self._statement.made_at:%Y-%m-%d %H:%M} UTC"
        self.cell(0, 5, f"{self._statement.user_id}  |  made {made}")
        self.cell(0, 5, f"Page {self.page_no()} of {{nb}}", align="R")

    def rule(self) -> None:
        """Draw a line across the page."""
        self.set_draw_color(*_RULE)
        self.line(_MARGIN_MM, self.get_y(), self.w - _MARGIN_MM, self.get_y())

    def row(
        self, cells: Sequence[str], widths_mm: Sequence[float], *, words: int, shaded: bool = False
    ) -> None:
        """Write a row; the first ``words`` cells stand left, amounts right."""
        self.set_fill_color(*_ZEBRA)
        for place, (text, width_mm) in enumerate(zip(cells, widths_mm, strict=True)):
            is_words = place < words
            size_pt, room_mm = self.font_size_pt, width_mm - _PADDING_MM
            shown = text.encode("latin-1", "replace").decode("latin-1")
            if is_words:
                shown = self._cut(shown, room_mm)
            elif (wanted_mm := self.get_string_width(shown)) > room_mm:
                # Every digit of an amount is shown, in small print if need be.
                self.set_font_size(size_pt * room_mm / wanted_mm)
            self.cell(width_mm, _ROW_MM, shown, align="L" if is_words else "R", fill=shaded)
            self.set_font_size(size_pt)
        self.ln(_ROW_MM)

    def _cut(self, text: str, room_mm: float) -> str:
        """Return as much of the text as there is room for."""
        shown = text
        while len(shown) > len("...") and self.get_string_width(shown) > room_mm:
            shown = shown.removesuffix("...")[:-1] + "..."
        return shown


def draw_statement(
    statement: Statement, entries: Sequence[StatementEntry], file: IO[bytes]
) -> None:
    """Write the statement with all its lines, which come by section and time, as PDF."""
    pages = _Pages(statement)
    pages.add_page()
    _draw_title(pages, statement)
    _draw_summary(pages, statement.sections)
    by_section = {
        (s.asset, s.chain_id): list(lines)
        for s, lines in groupby(entries, key=lambda entry: entry.section)
    }
    for section in statement.sections:
        _draw_section(pages, section, by_section.get((section.asset, section.chain_id), []))
    file.write(bytes(pages.output()))


def _draw_title(pages: _Pages, statement: Statement) -> None:
    pages.set_text_color(*_INK)
    pages.set_font("helvetica", style="B", size=20)
    pages.cell(0, 10, "Statement of account", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pages.set_font("helvetica", size=10)
    month = statement.month
    facts = [
        ("Account", f"{statement.email}  ({statement.user_id})"),
        ("Period", f"{month.starts_at:%d %B %Y} 00:00 UTC to {month.ends_at:%d %B %Y} 00:00 UTC"),
    ]
    if not statement.is_final:
        facts.append(("Note", "The month is not over: this is how it stands so far."))
    for name, value in facts:
        pages.set_text_color(*_PALE)
        pages.cell(20, 6, name)
        pages.set_text_color(*_INK)
        pages.cell(0, 6, value, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pages.ln(4)


def _draw_summary(pages: _Pages, sections: Sequence[Section]) -> None:
    _head(pages, "Balances")
    names = ("Asset", "Where", "Opening", "In", "Out", "Closing")
    _columns(pages, names, _SUMMARY_MM, words=2)
    for place, section in enumerate(sections):
        amounts = (
            section.opening_minor,
            section.in_minor,
            section.out_minor,
            section.closing_minor,
        )
        cells = (section.asset, placed(section), *(_amount(section, minor) for minor in amounts))
        pages.row(cells, _SUMMARY_MM, words=2, shaded=place % 2 == 1)
    if not sections:
        pages.cell(0, _ROW_MM, "No balances.", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _draw_section(pages: _Pages, section: Section, entries: Sequence[StatementEntry]) -> None:
    if pages.will_page_break(_ROW_MM * 6):
        pages.add_page()
    pages.ln(6)
    _head(pages, f"{section.asset}, {placed(section)}")
    names = ("Recorded (UTC)", "What", "Amount", "Balance")
    _columns(pages, names, _LINES_MM, words=2)
    opening = ("", "Opening balance", "", _amount(section, section.opening_minor))
    pages.row(opening, _LINES_MM, words=2)
    for place, entry in enumerate(entries):
        if pages.will_page_break(_ROW_MM * 2):
            pages.add_page()
            _columns(pages, names, _LINES_MM, words=2)
        _draw_entry(pages, entry, shaded=place % 2 == 0)
    pages.set_font("helvetica", style="B", size=8.5)
    closing = ("", "Closing balance", "", _amount(section, section.closing_minor))
    pages.row(closing, _LINES_MM, words=2)


def _draw_entry(pages: _Pages, entry: StatementEntry, *, shaded: bool) -> None:
    section = entry.section
    cells = (
        f"{entry.recorded_at:%Y-%m-%d %H:%M}",
        _middle_cut(told(entry)),
        ("+" if entry.amount_minor > 0 else "") + _amount(section, entry.amount_minor),
        _amount(section, entry.balance_minor),
    )
    pages.row(cells, _LINES_MM, words=2, shaded=shaded)


def _head(pages: _Pages, text: str) -> None:
    pages.set_text_color(*_ACCENT)
    pages.set_font("helvetica", style="B", size=12)
    pages.cell(0, 8, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _columns(
    pages: _Pages, names: Sequence[str], widths_mm: Sequence[float], *, words: int
) -> None:
    pages.set_text_color(*_PALE)
    pages.set_font("helvetica", style="B", size=8)
    pages.row(names, widths_mm, words=words)
    pages.rule()
    pages.set_text_color(*_INK)
    pages.set_font("helvetica", size=8.5)


def _middle_cut(text: str) -> str:
    """Shorten a long text in its middle: both ends of an address tell it from others."""
    if len(text) <= _SHOWN_CHARACTERS_MAX:
        return text
    kept = _SHOWN_CHARACTERS_MAX - len("...")
    return f"{text[: kept - 8]}...{text[-8:]}"


def _amount(section: Section, minor: int) -> str:
    return format_units(minor, decimals=section.decimals)
