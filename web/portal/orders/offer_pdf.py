"""The offer as PDF: prices, addressee, end of validity, and a link that leads back to the order."""

from __future__ import annotations

from datetime import datetime

from flask_babel import gettext as _
from fpdf.enums import Align, XPos, YPos

from models.contracts.costs import VAT_PERCENT, Amount
from models.values import Locale
from tasks.outbox.stationery import ACCENT, INK, LEFT, PRICE, QUIET, TINT, WIDTH, Sheet
from tasks.outbox.typeface import FAMILY
from tasks.settings import Carrier
from web.portal.orders.wizard import Wizard
from web.portal.page.locale import day, last_day, phone
from web.portal.page.money import euros


def offer_pdf(wizard: Wizard, link: str, now: datetime, until: datetime, locale: Locale, carrier: Carrier) -> bytes:
    """Return the offer of the carrier for a complete order as PDF.

    `link` leads back to the order; it is printed. `now` is the date of the offer, and `until`, the end of a day, the
    moment until which its prices are valid.
    """
    order = wizard.order(locale)
    number = str(wizard.id)[-6:].upper()
    title = _("Offer %(number)s", number=number)
    pdf = Sheet(carrier, locale, title, _("This offer is for businesses only."))
    pdf.add_page()

    customer = wizard.account
    top = pdf.get_y() + 18
    pdf.block(top, LEFT, [customer.name, customer.contact_name, customer.street,
                           f"{customer.postal_code} {customer.city}"])  # fmt: skip
    facts = [
        (_("Customer number"), customer.customer_number),
        (_("Date"), day(now)),
        (_("Valid until"), last_day(until)),
    ]
    pdf.facts(top, 125, facts)

    pdf.set_xy(LEFT, top + 38)
    pdf.ink(INK, "B", 18)
    pdf.line_of(title, 10)
    pdf.ink(QUIET, "", 10.5)
    pdf.paragraph(_("A new sub-account for %(location)s, added to your main account %(number)s.",
                    location=order.location.name, number=customer.customer_number))  # fmt: skip
    pdf.ln(4)

    top = pdf.get_y()
    pdf.heading(LEFT, _("Connection address"))
    place = order.location
    pdf.block(pdf.get_y(), LEFT, [place.name, place.street, f"{place.postal_code} {place.city}"])
    bottom = pdf.get_y()
    pdf.set_xy(LEFT + 85, top)
    pdf.heading(LEFT + 85, _("Contact person"))
    contact = order.contact
    lines = [contact.name, contact.email, phone(contact.phone) if contact.phone else ""]
    pdf.block(pdf.get_y(), LEFT + 85, [line for line in lines if line])
    pdf.set_y(max(bottom, pdf.get_y()) + 6)

    _table(pdf, wizard, locale)
    pdf.ink(QUIET, "", 9.5)
    pdf.paragraph(_("Prices net in euros, valid until %(day)s; the VAT rate is %(percent)s %% today.",
                    day=last_day(until), percent=VAT_PERCENT))  # fmt: skip
    pdf.paragraph(_("%(channels)s simultaneous calls, area code %(code)s (%(town)s).",
                    channels=order.channels, code=order.area_code,
                    town=wizard.area.name if wizard.area is not None else ""))  # fmt: skip
    pdf.ln(5)
    _way_on(pdf, link, until)
    return bytes(pdf.output())


def _table(pdf: Sheet, wizard: Wizard, locale: Locale) -> None:
    wide = WIDTH - 2 * PRICE
    pdf.set_fill_color(*TINT)
    pdf.ink(QUIET, "B", 9)
    pdf.row((_("Product"), _("Monthly"), _("One-off")), wide, fill=True)
    pdf.ink(INK, "", 10.5)
    for product, line in wizard.priced:
        pdf.row((product.name(locale), euros(line.monthly_cents), euros(line.one_off_cents)), wide)
        pdf.rule()
    costs = wizard.costs
    for words, pick, style in (
        (_("Net"), lambda amount: amount.net, ""),
        (_("plus %(percent)s %% VAT", percent=VAT_PERCENT), lambda amount: amount.vat, ""),
        (_("Gross"), lambda amount: amount.gross, "B"),
    ):
        pdf.ink(INK if style else QUIET, style, 10.5)
        pdf.row((words, *(_amount(pick, amount) for amount in (costs.monthly, costs.one_off))), wide)
    pdf.ln(2)


def _amount(pick: object, amount: Amount) -> str:
    assert callable(pick)
    return euros(pick(amount))


def _way_on(pdf: Sheet, link: str, until: datetime) -> None:
    pdf.heading(LEFT, _("How to order"))
    pdf.ink(INK, "", 10.5)
    pdf.paragraph(_("Nothing is ordered yet. This link leads back to the order, with everything filled in; sign in to "
                    "the customer portal with a login of your company. The offer is valid until %(day)s.",
                    day=last_day(until)))  # fmt: skip
    pdf.ln(1)
    pdf.set_text_color(*ACCENT)
    pdf.set_font(FAMILY, "U", 10)
    pdf.multi_cell(0, 5.5, link, link=link, align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
