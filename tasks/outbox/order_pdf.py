"""The PDF of an offer for an order, and the PDF summary of an order that was placed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from models.contracts.catalogue import PriceLine
from models.contracts.costs import VAT_PERCENT, Amount, costs_of
from models.orders.orders import Contact, Location
from models.values import Locale
from tasks.outbox.pdf_sheet import ACCENT, INK, LEFT, QUIET, WIDTH, Sheet
from tasks.settings import Carrier, CarrierPage
from tasks.wording.formats import day_text, euros, last_day_text, number_text
from tasks.wording.labels import carrier_page_text
from tasks.wording.translate import translate


@dataclass(frozen=True, slots=True)
class PrintedOrder:
    """The data of an order that an offer or a summary prints.

    `main_number` is the customer number of the main account that orders, `addressee` its name and address in lines.
    `lines` are pairs of product name and price, `town` is the name of the area code's Ortsnetz (local exchange area).
    `details` are further pairs of name and value, such as contract holder and mobile fallback.
    """

    main_number: str
    addressee: Sequence[str]
    location: Location
    contact: Contact
    lines: Sequence[tuple[str, PriceLine]]
    channels: int
    area_code: str
    town: str
    details: Sequence[tuple[str, str]] = ()


def offer_pdf(
    order: PrintedOrder, number: str, link: str, now: datetime, until: datetime, locale: Locale, carrier: Carrier
) -> bytes:
    """Return the carrier's offer for an order that was filled in but not placed, as PDF.

    `number` identifies the offer. `link` is the URL at which the order can be resumed; it is printed. `now` is the date
    of the offer. The prices are valid until `until`, the end of a day.
    """
    _ = partial(translate, locale)
    end = last_day_text(until, locale)
    pdf = Sheet(carrier, locale, _("Offer %(number)s", number=number), _("This offer is for businesses only."))
    facts = [(_("Customer number"), order.main_number), (_("Date"), day_text(now, locale)), (_("Valid until"), end)]
    intro = _("A new sub-account for %(location)s, added to your main account %(number)s.",
              location=order.location.name, number=order.main_number)  # fmt: skip
    _begin(pdf, order, facts, intro)
    pdf.paragraph(_("Prices net in euros, valid until %(day)s; the VAT rate is %(percent)s %% today.",
                    day=end, percent=VAT_PERCENT))  # fmt: skip
    _numbers(pdf, order)
    said = _("Nothing is ordered yet. This link leads back to the order, with everything filled in; sign in to the"
             " customer portal with a login of your company. The offer is valid until %(day)s.", day=end)  # fmt: skip
    return _end(pdf, _("How to order"), said, link, carrier)


def summary_pdf(
    order: PrintedOrder, customer_number: str, link: str, ordered_at: datetime, locale: Locale, carrier: Carrier
) -> bytes:
    """Return the carrier's summary of an order that was placed at `ordered_at`, as PDF.

    `customer_number` is that of the new account; `link` is the URL of the order's page and is printed.
    """
    _ = partial(translate, locale)
    title = _("Order, customer number %(number)s", number=customer_number)
    pdf = Sheet(carrier, locale, title, _("We confirm that we have received this order."))
    facts = [
        (_("Customer number"), order.main_number),
        (_("Ordered on"), day_text(ordered_at, locale)),
        (_("New customer number"), customer_number),
    ]
    intro = _("A new sub-account for %(location)s, added to your main account %(number)s.",
              location=order.location.name, number=order.main_number)  # fmt: skip
    _begin(pdf, order, facts, intro)
    pdf.paragraph(_("Prices net in euros, as agreed with the order; the VAT rate is %(percent)s %% today.",
                    percent=VAT_PERCENT))  # fmt: skip
    _numbers(pdf, order)
    said = _("This page of the customer portal says what has happened, what comes next, and who acts until when.")
    return _end(pdf, _("How it goes on"), said, link, carrier)


def _begin(pdf: Sheet, order: PrintedOrder, facts: list[tuple[str, str]], intro: str) -> None:
    """Print the beginning of an offer or summary: `facts`, addressee, title, `intro`, address, contact and products.

    `facts` are pairs of name and value. The products are printed as a table with prices and totals.
    """
    _ = pdf.say
    top = pdf.y + 18
    pdf.y = top
    pdf.facts(125, facts)
    pdf.y = top
    pdf.block(LEFT, list(order.addressee))

    pdf.y = max(pdf.y + 4, top + 38)
    pdf.ink(INK, "B", 18)
    pdf.line_of(pdf.heading_text, 10)
    pdf.ink(QUIET, "", 10.5)
    pdf.paragraph(intro)

    top = pdf.y + 4
    place, contact = order.location, order.contact
    lines = [contact.name, contact.email, number_text(contact.phone) if contact.phone else ""]
    bottoms = []
    for left, heading, block in (
        (LEFT, _("Connection address"), [place.name, place.street, f"{place.postal_code} {place.city}"]),
        (LEFT + 85, _("Contact person"), [line for line in lines if line]),
    ):
        pdf.y = top
        pdf.heading(left, heading)
        pdf.block(left, block)
        bottoms.append(pdf.y)
    pdf.y = max(bottoms) + 6

    _table(pdf, order)
    pdf.ink(QUIET, "", 9.5)


def _numbers(pdf: Sheet, order: PrintedOrder) -> None:
    _ = pdf.say
    pdf.paragraph(_("%(channels)s simultaneous calls, area code %(code)s (%(town)s).",
                    channels=order.channels, code=order.area_code, town=order.town))  # fmt: skip
    for name, value in order.details:
        pdf.paragraph(f"{name}: {value}")


def _end(pdf: Sheet, heading: str, said: str, link: str, carrier: Carrier) -> bytes:
    """Print `heading`, the text `said`, the link and the URL of the carrier's terms; return the finished PDF.

    All of these are kept on one page, so that no page has nothing but the URL of the terms.
    """
    terms = carrier.links.get(CarrierPage.TERMS)
    pdf.y += 5
    pdf.ink(INK, "", 10.5)
    lines = len(pdf.wrapped(said, WIDTH)) + len(pdf.wrapped(link, WIDTH))
    pdf.make_room(7 + 5.5 * lines + (9 + 5.5 * len(pdf.wrapped(terms, WIDTH)) if terms else 0))
    pdf.heading(LEFT, heading)
    pdf.ink(INK, "", 10.5)
    pdf.paragraph(said)
    pdf.y += 1
    pdf.ink(ACCENT, "", 10)
    pdf.link(link)
    if terms:
        pdf.y += 3
        pdf.heading(LEFT, carrier_page_text(CarrierPage.TERMS, pdf.locale))
        pdf.ink(ACCENT, "", 10)
        pdf.link(terms)
    return pdf.content()


def _table(pdf: Sheet, order: PrintedOrder) -> None:
    _ = pdf.say
    money = partial(euros, locale=pdf.locale)
    pdf.ink(QUIET, "B", 9)
    pdf.row((_("Product"), _("Monthly"), _("One-off")), fill=True)
    pdf.ink(INK, "", 10.5)
    for name, line in order.lines:
        pdf.row((name, money(line.monthly_cents), money(line.one_off_cents)))
        pdf.rule()
    costs = costs_of(line for _name, line in order.lines)
    sums: list[tuple[str, Callable[[Amount], int], str]] = [
        (_("Net"), lambda amount: amount.net, ""),
        (_("plus %(percent)s %% VAT", percent=VAT_PERCENT), lambda amount: amount.vat, ""),
        (_("Gross"), lambda amount: amount.gross, "B"),
    ]
    for words, pick, style in sums:
        pdf.ink(INK if style else QUIET, style, 10.5)
        pdf.row((words, money(pick(costs.monthly)), money(pick(costs.one_off))))
    pdf.y += 2
