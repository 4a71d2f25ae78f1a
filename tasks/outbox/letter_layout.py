"""The layout of a letter as PDF: address window, date, text, and a box with a code and a QR code.

The QR code leads to the portal's page where the code is entered.
"""

from __future__ import annotations

import re

import segno

from models.printable_text import in_print
from models.text_direction import isolated
from models.values import as_locale
from tasks.outbox.pdf_sheet import ACCENT, INK, LEFT, QUIET, TINT, WIDTH, Colour, Sheet
from tasks.ports import Letter
from tasks.settings import Carrier
from tasks.wording.translate import N_

# DIN 5008, form B: millimetres from the top left, so that the address shows in a window envelope.
_SENDER_TOP, _ADDRESS_TOP, _ADDRESS_END, _ADDRESS_WIDTH, _TEXT_TOP = 46, 52, 90, 82, 100
_FACTS_LEFT = 125
_FOLDS = (105, 210)
_SIZES = (11.0, 10.0, 9.0, 8.0, 7.0)
"""Font sizes for the address, in points. The largest in which the address fits into the window is used."""
_POSTAL_CODE = re.compile(r"^([0-9]{5} )(.+)$")
_CODE_BOX, _QR = 40, 32
_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)


def letter_pdf(letter: Letter, carrier: Carrier) -> bytes:
    """Return the letter as PDF, laid out for a window envelope (DIN 5008, form B).

    If the letter has a code, a box replaces the paragraph that contains it. The box has the code in large print, and a
    QR code of the page where the code is entered.
    """
    sheet = Sheet(carrier, as_locale(letter.locale), letter.subject)
    for top in _FOLDS:
        sheet.line(5, top, 9)
    _address(sheet, letter, carrier)
    _facts(sheet, letter, carrier)
    sheet.y = _TEXT_TOP
    sheet.ink(INK, "B", 13)
    sheet.paragraph(letter.subject, 6)
    sheet.y += 4
    for paragraph in letter.text.strip().split("\n\n"):
        if letter.code is not None and letter.code in paragraph:
            _code_box(sheet, letter.code, letter.link)
        else:
            sheet.ink(INK, "", 11)
            sheet.paragraph(paragraph)
        sheet.y += 3
    return sheet.content()


def _address(sheet: Sheet, letter: Letter, carrier: Carrier) -> None:
    """Print sender and recipient in the address window; wrap long lines, and print a long address in a smaller size."""
    sender, size = in_print(" · ".join(filter(None, (carrier.name, carrier.address)))), 7.0
    sheet.ink(QUIET, "", size)
    while sheet.width_of(sender) > _ADDRESS_WIDTH:
        size -= 0.25
        sheet.ink(QUIET, "", size)
    sheet.y = _SENDER_TOP
    sheet.text(sender, LEFT, 3.5)
    # The postal code stays before a right-to-left city.
    lines = [in_print(_POSTAL_CODE.sub(lambda found: found[1] + isolated(found[2]), line)) for line in letter.recipient]
    for size in _SIZES:
        sheet.ink(INK, "", size)
        height = size * 0.43
        wrapped = [part for line in lines for part in sheet.wrapped(line, _ADDRESS_WIDTH)]
        if len(wrapped) * height <= _ADDRESS_END - _ADDRESS_TOP:
            break
    sheet.y = _ADDRESS_TOP
    for line in wrapped:
        sheet.line_of(line, height)


def _facts(sheet: Sheet, letter: Letter, carrier: Carrier) -> None:
    """Print the letter's date and the carrier's phone number and e-mail address, beside the address window."""
    facts = [
        (N_("Date"), letter.date),
        (N_("Questions?"), carrier.phone or carrier.email),
        ("", carrier.email if carrier.phone else None),
    ]
    sheet.y = _ADDRESS_TOP
    sheet.facts(_FACTS_LEFT, [(sheet.say(name) if name else "", value) for name, value in facts if value])


def _code_box(sheet: Sheet, code: str, link: str | None) -> None:
    """Print a box with the code in large print and a QR code of `link`, the URL of the page where the code is entered.

    If `link` is None, there is no QR code. Begins a new page if the box does not fit.
    """
    sheet.make_room(_CODE_BOX)
    top = sheet.y + 1
    sheet.box(LEFT, top, WIDTH, _CODE_BOX, TINT, 2)
    sheet.y = top + 7
    sheet.ink(QUIET, "", 10)
    sheet.line_of(f"{sheet.say(N_('Your code'))}: ", 5, LEFT + 7)
    sheet.ink(ACCENT, "B", 30)
    sheet.line_of(code, 15, LEFT + 7)
    if link is not None:
        sheet.ink(INK, "", 9)
        hint = sheet.say(N_("The QR code leads to the page where you enter this code."))
        sheet.paragraph(hint, 4.2, LEFT + 7, WIDTH - _QR - 20)
        _qr_code(sheet, link, LEFT + WIDTH - _QR - 4, top + 4)
    sheet.y = top + _CODE_BOX + 2


def _qr_code(sheet: Sheet, text: str, left: float, top: float) -> None:
    """Draw the text as a QR code, 32 mm (`_QR`) wide with its quiet zone; `left` and `top` are in millimetres.

    Neighbouring dark dots of a row are drawn as one rectangle.
    """
    matrix = [list(row) for row in segno.make_qr(text, error="m").matrix_iter(border=4)]
    dot = _QR / len(matrix)
    sheet.box(left, top, _QR, _QR, _WHITE)
    for line, row in enumerate(matrix):
        begin = None
        for column, dark in enumerate([*row, 0]):
            if dark and begin is None:
                begin = column
            elif not dark and begin is not None:
                # A hair wider than the dots, so that no light line shows between the rows.
                sheet.box(left + begin * dot, top + line * dot, (column - begin) * dot, dot * 1.02, _BLACK)
                begin = None
