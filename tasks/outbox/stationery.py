"""The sheets on which letters and offers are printed, with the portal's colours, typeface and wordmark."""

from __future__ import annotations

from functools import partial

from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos

from models.values import Locale, in_print
from tasks.outbox.typeface import FAMILY, add_typeface
from tasks.settings import Carrier, CarrierPage
from tasks.wording.labels import carrier_page_text
from tasks.wording.translate import N_, translate

Colour = tuple[int, int, int]

LEFT, RIGHT, WIDTH, PRICE = 25, 20, 165, 32
"""Margins, width of the text, and width of a price in a table, in millimetres."""
INK, QUIET, ACCENT, LINE, TINT = (22, 32, 29), (81, 92, 88), (11, 90, 75), (217, 221, 217), (245, 246, 244)
"""The colours of web/static/portal.css (--ink, --quiet, --primary, --line, --paper) in its light form."""
_MARK = 4.2
_FOOT = 22


class Sheet(FPDF):
    """A PDF in A4 whose pages have the wordmark on top, and the carrier and the page number at the bottom.

    `carrier` says who sends it, `title` is the document's title, and `remark` a sentence for the foot of each page.
    `say` translates a sentence into the document's language.
    """

    def __init__(self, carrier: Carrier, locale: Locale, title: str, remark: str = "") -> None:
        super().__init__(format="A4")
        self.locale = locale
        self.say = partial(translate, locale)
        self._carrier, self._remark = carrier, remark
        add_typeface(self)
        self.set_margins(LEFT, 20, RIGHT)
        self.set_auto_page_break(auto=True, margin=_FOOT + 8)
        self.heading_text = title
        self.set_title(in_print(title))
        self.set_lang(locale)

    def header(self) -> None:
        """Print the wordmark: the portal's mark, the carrier's name if it is set, and the portal's name."""
        self.set_fill_color(*(round(channel + (255 - channel) * 0.55) for channel in ACCENT))
        self.rect(LEFT + 1.1, 17.1, _MARK, _MARK, style="F", round_corners=True, corner_radius=1.1)
        self.set_fill_color(*ACCENT)
        self.rect(LEFT, 16, _MARK, _MARK, style="F", round_corners=True, corner_radius=1.1)
        self.set_xy(LEFT + 8, 15.5)
        self.ink(INK, "B", 12.5)
        self.write(5.5, in_print(" ".join(filter(None, (self._carrier.name, self.say(N_("Customer portal")))))))
        self.set_y(28)

    def footer(self) -> None:
        """Print the remark, the carrier's address, contact and imprint, and the page number."""
        carrier = self._carrier
        imprint = carrier.links.get(CarrierPage.IMPRINT)
        lines = [
            self._remark,
            ", ".join(filter(None, (carrier.name, carrier.address))),
            " · ".join(filter(None, (carrier.phone, carrier.email))),
            f"{carrier_page_text(CarrierPage.IMPRINT, self.locale)}: {imprint}" if imprint else "",
        ]
        self.set_y(-_FOOT)
        self.rule()
        self.ink(QUIET, "", 8)
        self.cell(WIDTH, 5, f"{self.page_no()}/{{nb}}", align=Align.R)
        self.set_xy(LEFT, 297 - _FOOT + 0.7)
        for line in filter(None, lines):
            self.cell(WIDTH - 20, 3.8, in_print(line), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def ink(self, colour: Colour, style: str, size: float) -> None:
        """Set the colour (RGB), style ("B" is bold) and size (in points) of the text that is printed next."""
        self.set_text_color(*colour)
        self.set_font(FAMILY, style, size)

    def line_of(self, text: str, height: float) -> None:
        """Print one line of text, `height` millimetres high, and go to the next line."""
        self.cell(0, height, in_print(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def paragraph(self, text: str) -> None:
        """Print a text that wraps over several lines."""
        self.multi_cell(0, 5.5, in_print(text), align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def heading(self, left: float, text: str) -> None:
        """Print a small heading, `left` millimetres from the page's left edge."""
        self.set_x(left)
        self.ink(QUIET, "B", 9)
        self.cell(80, 6, in_print(text), new_x=XPos.LEFT, new_y=YPos.NEXT)

    def block(self, top: float, left: float, lines: list[str]) -> None:
        """Print short lines, one below the other, starting at `top` and `left` (millimetres from the page's edges)."""
        self.set_xy(left, top)
        self.ink(INK, "", 10.5)
        for line in lines:
            self.multi_cell(80, 5.2, in_print(line), align=Align.L, new_x=XPos.LEFT, new_y=YPos.NEXT)

    def facts(self, top: float, left: float, facts: list[tuple[str, str]]) -> None:
        """Print (name, value) pairs, one per line, starting at `top` and `left` (millimetres from the page's edges)."""
        self.set_y(top)
        for name, value in facts:
            self.set_x(left)
            self.ink(QUIET, "", 9)
            self.cell(24, 5.6, in_print(name))
            self.ink(INK, "", 9)
            self.cell(41, 5.6, in_print(value), align=Align.R, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def row(self, cells: tuple[str, ...], wide: float, *, fill: bool = False) -> None:
        """Print a table row: a description, `wide` millimetres wide, then prices. `fill` gives it a background."""
        for place, text in enumerate(cells):
            width, align = (wide, Align.L) if place == 0 else (PRICE, Align.R)
            self.cell(width, 7.5, in_print(text), align=align, fill=fill)
        self.ln(7.5)

    def rule(self) -> None:
        """Draw a thin line from margin to margin."""
        self.set_draw_color(*LINE)
        self.line(LEFT, self.get_y(), LEFT + WIDTH, self.get_y())
