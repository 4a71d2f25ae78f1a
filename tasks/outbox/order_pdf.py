"""The offer for an order, and the summary of an order that was placed, as PDF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos

from models.contracts.catalogue import PriceLine
from models.contracts.costs import VAT_PERCENT, Amount, costs_of
from models.orders.orders import Contact, Location
from models.phone_numbers import display_phone_number
from models.values import BERLIN, Locale, last_day
from tasks.outbox.typeface import FAMILY, add_typeface, printable
from tasks.wording.formats import euros, long_date
from tasks.wording.translate import translate

_LEFT, _RIGHT, _WIDTH = 25, 20, 165
_INK, _QUIET, _ACCENT, _LINE, _TINT = (23, 32, 43), (79, 91, 105), (10, 88, 166), (213, 219, 226), (240, 244, 249)
_PRICE = 32


@dataclass(frozen=True, slots=True)
class PrintedOrder:
    """What an offer or a summary says of an order.

    `main_number` is the customer number of the main account that orders, `addressee` its name and address in lines.
    `lines` are the products' names with their prices, `town` the town of the area code.
    """

    main_number: str
    addressee: Sequence[str]
    location: Location
    contact: Contact
    lines: Sequence[tuple[str, PriceLine]]
    channels: int
    area_code: str
    town: str


def offer_pdf(order: PrintedOrder, number: str, link: str, now: datetime, until: datetime, locale: Locale) -> bytes:
    """Return the offer for a complete order as PDF.

    `number` names the offer; `link` leads back to the order and is printed. `now` is the date of the offer, and
    `until`, the end of a day, the moment until which its prices are valid.
    """
    _ = partial(translate, locale)
    end = long_date(last_day(until), locale)
    pdf = _Page(locale, _("Offer %(number)s", number=number), _("This offer is for businesses only."))
    facts = [(_("Customer number"), order.main_number), (_("Date"), _day(now, locale)), (_("Valid until"), end)]
    intro = _("A new sub-account for %(location)s, added to your main account %(number)s.",
              location=order.location.name, number=order.main_number)  # fmt: skip
    _begin(pdf, order, facts, intro)
    pdf.paragraph(_("Prices net in euros, valid until %(day)s; the VAT rate is %(percent)s %% today.",
                    day=end, percent=VAT_PERCENT))  # fmt: skip
    _numbers(pdf, order)
    said = _("Nothing is ordered yet. This link leads back to the order, with everything filled in; sign in to the"
             " customer portal with a login of your company. The offer is valid until %(day)s.", day=end)  # fmt: skip
    return _end(pdf, _("How to order"), said, link)


def summary_pdf(order: PrintedOrder, customer_number: str, link: str, ordered_at: datetime, locale: Locale) -> bytes:
    """Return the summary of an order that was placed at `ordered_at`, as PDF.

    `customer_number` is that of the ordered account; `link` leads to the order's page and is printed.
    """
    _ = partial(translate, locale)
    title = _("Order, customer number %(number)s", number=customer_number)
    pdf = _Page(locale, title, _("We confirm that we have received this order."))
    facts = [
        (_("Customer number"), order.main_number),
        (_("Ordered on"), _day(ordered_at, locale)),
        (_("New customer number"), customer_number),
    ]
    intro = _("A new sub-account for %(location)s, added to your main account %(number)s.",
              location=order.location.name, number=order.main_number)  # fmt: skip
    _begin(pdf, order, facts, intro)
    pdf.paragraph(_("Prices net in euros, as agreed with the order; the VAT rate is %(percent)s %% today.",
                    percent=VAT_PERCENT))  # fmt: skip
    _numbers(pdf, order)
    said = _("This page of the customer portal says what has happened, what comes next, and who acts until when.")
    return _end(pdf, _("How it goes on"), said, link)


def _begin(pdf: _Page, order: PrintedOrder, facts: list[tuple[str, str]], intro: str) -> None:
    """Print everything from the addressee to the prices."""
    _ = pdf.say
    pdf.add_page()
    top = pdf.get_y() + 18
    pdf.block(top, _LEFT, list(order.addressee))
    pdf.facts(top, 125, facts)

    pdf.set_xy(_LEFT, top + 38)
    pdf.ink(_INK, "B", 18)
    pdf.line_of(pdf.heading_text, 10)
    pdf.ink(_QUIET, "", 10.5)
    pdf.paragraph(intro)
    pdf.ln(4)

    top = pdf.get_y()
    pdf.heading(_LEFT, _("Connection address"))
    place = order.location
    pdf.block(pdf.get_y(), _LEFT, [place.name, place.street, f"{place.postal_code} {place.city}"])
    bottom = pdf.get_y()
    pdf.set_xy(_LEFT + 85, top)
    pdf.heading(_LEFT + 85, _("Contact person"))
    contact = order.contact
    lines = [contact.name, contact.email, display_phone_number(contact.phone) if contact.phone else ""]
    pdf.block(pdf.get_y(), _LEFT + 85, [line for line in lines if line])
    pdf.set_y(max(bottom, pdf.get_y()) + 6)

    _table(pdf, order)
    pdf.ink(_QUIET, "", 9.5)


def _numbers(pdf: _Page, order: PrintedOrder) -> None:
    _ = pdf.say
    pdf.paragraph(_("%(channels)s simultaneous calls, area code %(code)s (%(town)s).",
                    channels=order.channels, code=order.area_code, town=order.town))  # fmt: skip


def _end(pdf: _Page, heading: str, said: str, link: str) -> bytes:
    """Print the last heading, its text and the link, and return the PDF."""
    pdf.ln(5)
    pdf.heading(_LEFT, heading)
    pdf.ink(_INK, "", 10.5)
    pdf.paragraph(said)
    pdf.ln(1)
    pdf.set_text_color(*_ACCENT)
    pdf.set_font(FAMILY, "U", 10)
    pdf.multi_cell(0, 5.5, link, link=link, align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    return bytes(pdf.output())


def _table(pdf: _Page, order: PrintedOrder) -> None:
    _, wide = pdf.say, _WIDTH - 2 * _PRICE
    money = partial(euros, locale=pdf.locale)
    pdf.set_fill_color(*_TINT)
    pdf.ink(_QUIET, "B", 9)
    pdf.row((_("Product"), _("Monthly"), _("One-off")), wide, fill=True)
    pdf.ink(_INK, "", 10.5)
    for name, line in order.lines:
        pdf.row((name, money(line.monthly_cents), money(line.one_off_cents)), wide)
        pdf.rule()
    costs = costs_of(line for _name, line in order.lines)
    sums: list[tuple[str, Callable[[Amount], int], str]] = [
        (_("Net"), lambda amount: amount.net, ""),
        (_("plus %(percent)s %% VAT", percent=VAT_PERCENT), lambda amount: amount.vat, ""),
        (_("Gross"), lambda amount: amount.gross, "B"),
    ]
    for words, pick, style in sums:
        pdf.ink(_INK if style else _QUIET, style, 10.5)
        pdf.row((words, money(pick(costs.monthly)), money(pick(costs.one_off))), wide)
    pdf.ln(2)


class _Page(FPDF):
    """A PDF whose pages have the portal's name on top, and the line `foot` and the page number at the bottom.

    `say` translates a sentence into the document's language.
    """

    def __init__(self, locale: Locale, title: str, foot: str) -> None:
        super().__init__(format="A4")
        self.locale = locale
        self.say = partial(translate, locale)
        self.foot = foot
        self.heading_text = title
        add_typeface(self)
        self.set_margins(_LEFT, 20, _RIGHT)
        self.set_auto_page_break(auto=True, margin=28)
        self.set_title(title)
        self.set_lang(locale)

    def header(self) -> None:
        """Print the name of the portal at the top of the page."""
        self.set_fill_color(*_ACCENT)
        self.rect(0, 0, 210, 3, style="F")
        self.set_xy(_LEFT, 16)
        self.ink(_ACCENT, "B", 13)
        _ = self.say
        self.line_of(_("Customer portal"), 7)

    def footer(self) -> None:
        """Print the line `foot` and the page number at the bottom of the page."""
        self.set_y(-20)
        self.rule()
        self.ink(_QUIET, "", 8)
        self.cell(_WIDTH - 20, 5, printable(self.foot))
        self.cell(20, 5, f"{self.page_no()}/{{nb}}", align=Align.R)

    def ink(self, colour: tuple[int, int, int], style: str, size: float) -> None:
        """Set the colour (RGB), style ("B" is bold) and size (in points) of the text that is printed next."""
        self.set_text_color(*colour)
        self.set_font(FAMILY, style, size)

    def line_of(self, text: str, height: float) -> None:
        """Print one line of text, `height` millimetres high, and go to the next line."""
        self.cell(0, height, printable(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def paragraph(self, text: str) -> None:
        """Print a text that wraps over several lines."""
        self.multi_cell(0, 5.5, printable(text), align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def heading(self, left: float, text: str) -> None:
        """Print a small heading, `left` millimetres from the page's left edge."""
        self.set_x(left)
        self.ink(_QUIET, "B", 9)
        self.cell(80, 6, printable(text), new_x=XPos.LEFT, new_y=YPos.NEXT)

    def block(self, top: float, left: float, lines: list[str]) -> None:
        """Print short lines, one below the other, starting at `top` and `left` (millimetres from the page's edges)."""
        self.set_xy(left, top)
        self.ink(_INK, "", 10.5)
        for line in lines:
            self.multi_cell(80, 5.2, printable(line), align=Align.L, new_x=XPos.LEFT, new_y=YPos.NEXT)

    def facts(self, top: float, left: float, facts: list[tuple[str, str]]) -> None:
        """Print (name, value) pairs, one per line, starting at `top` and `left` (millimetres from the page's edges)."""
        self.set_y(top)
        for name, value in facts:
            self.set_x(left)
            self.ink(_QUIET, "", 9)
            self.cell(30, 5.6, printable(name))
            self.ink(_INK, "", 9)
            self.cell(35, 5.6, printable(value), align=Align.R, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def row(self, cells: tuple[str, ...], wide: float, *, fill: bool = False) -> None:
        """Print a table row: a description, `wide` millimetres wide, then prices. `fill` gives it a background."""
        for place, text in enumerate(cells):
            width, align = (wide, Align.L) if place == 0 else (_PRICE, Align.R)
            self.cell(width, 7.5, printable(text), align=align, fill=fill)
        self.ln(7.5)

    def rule(self) -> None:
        """Draw a thin line from margin to margin."""
        self.set_draw_color(*_LINE)
        self.line(_LEFT, self.get_y(), _LEFT + _WIDTH, self.get_y())


def _day(at: datetime, locale: Locale) -> str:
    return long_date(at.astimezone(BERLIN).date(), locale)
