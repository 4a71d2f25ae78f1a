"""Writes letters as PDF files to a folder, where a print shop fetches them or a developer reads them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.outbox.typeface import FAMILY, add_typeface, printable
from tasks.ports import GatewayUnavailable, Letter

if TYPE_CHECKING:
    from fpdf import FPDF

# DIN 5008, form B: millimetres from the top left, so that the address shows in a window envelope.
_LEFT, _SENDER_TOP, _ADDRESS_TOP, _TEXT_TOP, _RIGHT = 25, 45, 52, 105, 20


class LetterFolder:
    """A folder of letters as PDF files, each named by the letter's key. `sender` is a name, printed on each letter."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    def print_letter(self, letter: Letter) -> None:
        """Write a letter as a PDF file. Safe to run twice: the file is replaced atomically.

        Raises `GatewayUnavailable` if the file cannot be written.
        """
        file = self._folder / f"{letter.key}.pdf"
        unfinished = file.with_suffix(f".{os.getpid()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(_pdf(letter, self._sender))
            unfinished.replace(file)
        except OSError as error:
            raise GatewayUnavailable(type(error).__name__) from error


def _pdf(letter: Letter, sender: str) -> bytes:
    from fpdf import FPDF  # a large import, made only when a letter is printed

    pdf = FPDF(format="A4")
    add_typeface(pdf)
    pdf.set_margins(_LEFT, 20, _RIGHT)
    pdf.set_auto_page_break(auto=True, margin=20)
    pdf.set_title(printable(letter.subject))
    pdf.set_lang(letter.locale)
    pdf.add_page()
    _lines(pdf, _SENDER_TOP, 7, [sender])
    _lines(pdf, _ADDRESS_TOP, 11, letter.recipient)
    pdf.set_y(_TEXT_TOP)
    pdf.set_font(FAMILY, "B", 12)
    pdf.multi_cell(0, 6, printable(letter.subject), new_x="LMARGIN", new_y="NEXT")
    pdf.ln(4)
    pdf.set_font(FAMILY, "", 11)
    for paragraph in letter.text.split("\n\n"):
        pdf.multi_cell(0, 5.5, printable(paragraph), align="L", new_x="LMARGIN", new_y="NEXT")
        pdf.ln(3)
    return bytes(pdf.output())


def _lines(pdf: FPDF, top: float, size: float, lines: list[str] | tuple[str, ...]) -> None:
    pdf.set_y(top)
    pdf.set_font(FAMILY, "", size)
    for line in lines:
        pdf.cell(85, size * 0.46, printable(line), new_x="LMARGIN", new_y="NEXT")
