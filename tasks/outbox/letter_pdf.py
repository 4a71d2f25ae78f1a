"""The sheet of a letter: address window, date, text, the code large, and the page's address as a QR code."""

from __future__ import annotations

import segno

from models.values import as_locale, in_print
from tasks.outbox.stationery import ACCENT, INK, LEFT, LINE, QUIET, TINT, WIDTH, Sheet
from tasks.ports import Letter
from tasks.settings import Carrier
from tasks.wording.translate import N_

# DIN 5008, form B: millimetres from the top left, so that the address shows in a window envelope.
_SENDER_TOP, _ADDRESS_TOP, _ADDRESS_END, _ADDRESS_WIDTH, _TEXT_TOP = 46, 52, 90, 82, 100
_FACTS_LEFT = 125
_FOLDS = (105, 210)
_SIZES = (11.0, 10.0, 9.0, 8.0, 7.0)
"""The sizes of the address in points, the largest that fits into the window is taken."""
_CODE_BOX, _QR = 40, 32


def letter_pdf(letter: Letter, carrier: Carrier) -> bytes:
    """Return the letter as PDF: sender, date, whom to ask, the code large, the page's address as a QR code."""
    sheet = Sheet(carrier, as_locale(letter.locale), letter.subject)
    sheet.add_page()
    _folding_marks(sheet)
    _address(sheet, letter, carrier)
    _facts(sheet, letter, carrier)
    sheet.set_y(_TEXT_TOP)
    sheet.ink(INK, "B", 13)
    sheet.multi_cell(0, 6, in_print(letter.subject), align="L", new_x="LMARGIN", new_y="NEXT")
    sheet.ln(4)
    for paragraph in letter.text.strip().split("\n\n"):
        if letter.code is not None and letter.code in paragraph:
            _code_box(sheet, letter.code, letter.link)
        else:
            sheet.ink(INK, "", 11)
            sheet.paragraph(paragraph)
        sheet.ln(3)
    return bytes(sheet.output())


def _folding_marks(sheet: Sheet) -> None:
    sheet.set_draw_color(*LINE)
    for top in _FOLDS:
        sheet.line(5, top, 9, top)


def _address(sheet: Sheet, letter: Letter, carrier: Carrier) -> None:
    """Print sender and recipient in the window; long lines wrap, and long addresses are printed smaller."""
    sheet.ink(QUIET, "", 7)
    sheet.set_y(_SENDER_TOP)
    sender = in_print(" · ".join(filter(None, (carrier.name, carrier.address))))
    while sheet.get_string_width(sender) > _ADDRESS_WIDTH:
        sheet.set_font_size(sheet.font_size_pt - 0.25)
    sheet.cell(_ADDRESS_WIDTH, 3.5, sender)
    lines = [in_print(line) for line in letter.recipient]
    for size in _SIZES:
        sheet.ink(INK, "", size)
        height = size * 0.43
        wrapped = [part for line in lines for part in _wrapped(sheet, line)]
        if len(wrapped) * height <= _ADDRESS_END - _ADDRESS_TOP:
            break
    sheet.set_y(_ADDRESS_TOP)
    for line in wrapped:
        sheet.cell(_ADDRESS_WIDTH, height, line, new_x="LMARGIN", new_y="NEXT")


def _wrapped(sheet: Sheet, line: str) -> list[str]:
    found = sheet.multi_cell(_ADDRESS_WIDTH, 5, line, align="L", dry_run=True, output="LINES")
    assert isinstance(found, list)
    return found


def _facts(sheet: Sheet, letter: Letter, carrier: Carrier) -> None:
    """Print the date, and whom to ask."""
    facts = [
        (N_("Date"), letter.date),
        (N_("Questions?"), carrier.phone or carrier.email),
        ("", carrier.email if carrier.phone else None),
    ]
    shown = [(sheet.say(name) if name else "", value) for name, value in facts if value]
    sheet.facts(_ADDRESS_TOP, _FACTS_LEFT, shown)


def _code_box(sheet: Sheet, code: str, link: str | None) -> None:
    """Print the code large, and beside it the page's address as a QR code."""
    if sheet.will_page_break(_CODE_BOX):
        sheet.add_page()
    top = sheet.get_y() + 1
    sheet.set_fill_color(*TINT)
    sheet.rect(LEFT, top, WIDTH, _CODE_BOX, style="F", round_corners=True, corner_radius=2)
    sheet.set_xy(LEFT + 6, top + 7)
    sheet.ink(QUIET, "", 10)
    sheet.cell(100, 5, f"{sheet.say(N_('Your code'))}: ", new_x="LEFT", new_y="NEXT")
    sheet.ink(ACCENT, "B", 30)
    sheet.cell(100, 15, in_print(code), new_x="LEFT", new_y="NEXT")
    if link is not None:
        sheet.ink(INK, "", 9)
        hint = sheet.say(N_("The QR code leads to the page where you enter this code."))
        sheet.multi_cell(WIDTH - _QR - 18, 4.2, hint, align="L")
        _qr_code(sheet, link, LEFT + WIDTH - _QR - 4, top + 4)
    sheet.set_xy(LEFT, top + _CODE_BOX + 2)


def _qr_code(sheet: Sheet, text: str, left: float, top: float) -> None:
    """Draw a QR code, `_QR` millimetres wide with its quiet zone; neighbouring dots of a row are one rectangle."""
    matrix = [list(row) for row in segno.make_qr(text, error="m").matrix_iter(border=4)]
    dot = _QR / len(matrix)
    sheet.set_fill_color(255)
    sheet.rect(left, top, _QR, _QR, style="F")
    sheet.set_fill_color(0)
    for line, row in enumerate(matrix):
        begin = None
        for column, dark in enumerate([*row, 0]):
            if dark and begin is None:
                begin = column
            elif not dark and begin is not None:
                # A hair wider than the dots, so that no light line shows between the rows.
                sheet.rect(left + begin * dot, top + line * dot, (column - begin) * dot, dot * 1.02, style="F")
                begin = None
