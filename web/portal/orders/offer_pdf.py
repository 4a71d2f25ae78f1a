"""The offer as PDF: prices, addressee, end of validity, and a link that leads back to the order."""

from __future__ import annotations

from datetime import datetime

from flask_babel import format_date
from flask_babel import gettext as _
from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos

from models.accounts.contract_holders import Addressee
from models.contracts.costs import VAT_PERCENT, Amount
from models.values import Locale
from tasks.outbox.typeface import FAMILY, add_typeface, printable
from web.portal.orders.wizard import Wizard
from web.portal.page.locale import last_day, phone
from web.portal.page.money import euros

_LEFT, _RIGHT, _WIDTH = 25, 20, 165
_INK, _QUIET, _ACCENT, _LINE, _TINT = (23, 32, 43), (79, 91, 105), (10, 88, 166), (213, 219, 226), (240, 244, 249)
_PRICE = 32


def offer_pdf(wizard: Wizard, addressee: Addressee, link: str, now: datetime, until: datetime, locale: Locale) -> bytes:
    """Return the offer for a complete order as PDF.

    `addressee` is the contract holder of the account that orders. `link` leads back to the order; it is printed. `now`
    is the date of the offer, and `until`, the end of a day, the moment until which its prices are valid.
    """
    order = wizard.order(locale)
    pdf = _Page(format="A4")
    add_typeface(pdf)
    pdf.foot = _("This offer is for businesses only.")
    pdf.set_margins(_LEFT, 20, _RIGHT)
    pdf.set_auto_page_break(auto=True, margin=28)
    number = str(wizard.id)[-6:].upper()
    title = _("Offer %(number)s", number=number)
    pdf.set_title(title)
    pdf.set_lang(locale)
    pdf.add_page()

    customer = wizard.account
    top = pdf.get_y() + 18
    pdf.block(top, _LEFT, [addressee.name, customer.contact_name, addressee.street,
                           f"{addressee.postal_code} {addressee.city}"])  # fmt: skip
    facts = [
        (_("Customer number"), customer.customer_number),
        (_("Date"), _day(now)),
        (_("Valid until"), last_day(until)),
    ]
    pdf.facts(top, 125, facts)

    pdf.set_xy(_LEFT, top + 38)
    pdf.ink(_INK, "B", 18)
    pdf.line_of(title, 10)
    pdf.ink(_QUIET, "", 10.5)
    pdf.paragraph(_("A new sub-account for %(location)s, added to your main account %(number)s.",
                    location=order.location.name, number=customer.customer_number))  # fmt: skip
    pdf.ln(4)

    top = pdf.get_y()
    pdf.heading(_LEFT, _("Connection address"))
    place = order.location
    pdf.block(pdf.get_y(), _LEFT, [place.name, place.street, f"{place.postal_code} {place.city}"])
    bottom = pdf.get_y()
    pdf.set_xy(_LEFT + 85, top)
    pdf.heading(_LEFT + 85, _("Contact person"))
    contact = order.contact
    lines = [contact.name, contact.email, phone(contact.phone) if contact.phone else ""]
    pdf.block(pdf.get_y(), _LEFT + 85, [line for line in lines if line])
    pdf.set_y(max(bottom, pdf.get_y()) + 6)

    _table(pdf, wizard, locale)
    pdf.ink(_QUIET, "", 9.5)
    pdf.paragraph(_("Prices net in euros, valid until %(day)s; the VAT rate is %(percent)s %% today.",
                    day=last_day(until), percent=VAT_PERCENT))  # fmt: skip
    pdf.paragraph(_("%(channels)s simultaneous calls, area code %(code)s (%(town)s).",
                    channels=order.channels, code=order.area_code,
                    town=wizard.area.name if wizard.area is not None else ""))  # fmt: skip
    pdf.ln(5)
    _way_on(pdf, link, until)
    return bytes(pdf.output())


def _table(pdf: _Page, wizard: Wizard, locale: Locale) -> None:
    wide = _WIDTH - 2 * _PRICE
    pdf.set_fill_color(*_TINT)
    pdf.ink(_QUIET, "B", 9)
    pdf.row((_("Product"), _("Monthly"), _("One-off")), wide, fill=True)
    pdf.ink(_INK, "", 10.5)
    for product, line in wizard.priced:
        pdf.row((product.name(locale), euros(line.monthly_cents), euros(line.one_off_cents)), wide)
        pdf.rule()
    costs = wizard.costs
    for words, pick, style in (
        (_("Net"), lambda amount: amount.net, ""),
        (_("plus %(percent)s %% VAT", percent=VAT_PERCENT), lambda amount: amount.vat, ""),
        (_("Gross"), lambda amount: amount.gross, "B"),
    ):
        pdf.ink(_INK if style else _QUIET, style, 10.5)
        pdf.row((words, *(_amount(pick, amount) for amount in (costs.monthly, costs.one_off))), wide)
    pdf.ln(2)


def _amount(pick: object, amount: Amount) -> str:
    assert callable(pick)
    return euros(pick(amount))


def _way_on(pdf: _Page, link: str, until: datetime) -> None:
    pdf.heading(_LEFT, _("How to order"))
    pdf.ink(_INK, "", 10.5)
    pdf.paragraph(_("Nothing is ordered yet. This link leads back to the order, with everything filled in; sign in to "
                    "the customer portal with a login of your company. The offer is valid until %(day)s.",
                    day=last_day(until)))  # fmt: skip
    pdf.ln(1)
    pdf.set_text_color(*_ACCENT)
    pdf.set_font(FAMILY, "U", 10)
    pdf.multi_cell(0, 5.5, link, link=link, align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


class _Page(FPDF):
    """A PDF whose pages have the portal's name on top, and the line `foot` and the page number at the bottom."""

    foot = ""

    def header(self) -> None:
        """Print the name of the portal at the top of the page."""
        self.set_fill_color(*_ACCENT)
        self.rect(0, 0, 210, 3, style="F")
        self.set_xy(_LEFT, 16)
        self.ink(_ACCENT, "B", 13)
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


def _day(at: datetime) -> str:
    said: str = format_date(at, "long")
    return said
