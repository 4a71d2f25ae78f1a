"""`standorte prices …`: show the price list, set prices from a day on, and stop selling products."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import date
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from models.calendar_days import berlin_day
from models.contracts.catalogue import (
    HasTerms,
    Product,
    ProductKind,
    all_products,
    planned_prices,
    price_list,
    set_price,
)
from models.contracts.terms import LONGEST_NOTICE, LONGEST_TERM, ContractTerms
from models.db.session import Database
from models.errors import InvalidField
from models.people.audit_log import AuditEvent, record_of_carrier
from workers.commands.resources import midday, open_database, out, refuse, typed_day

app = typer.Typer(no_args_is_help=True, help="The price list.")

_AMOUNT = re.compile(r"([0-9]{1,6})(?:[.,]([0-9]{1,2}))?")
_AMOUNT_HELP = "Net euros, such as 9.90; as before without it."

KeyArgument = Annotated[str, typer.Argument(metavar="PRODUCT", help="As `prices list` shows it.")]
_MONTHS_HELP = "Months, of the contracts of a trunk; as before without it."
TermOption = Annotated[int | None, typer.Option(help=f"First term. {_MONTHS_HELP}", min=0, max=LONGEST_TERM)]
NoticeOption = Annotated[int | None, typer.Option(help=f"Notice period. {_MONTHS_HELP}", min=0, max=LONGEST_NOTICE)]
RenewalOption = Annotated[
    int | None,
    typer.Option(help=f"Extension after the first term, 0: indefinite. {_MONTHS_HELP}", min=0, max=LONGEST_TERM),
]
DayOption = Annotated[
    str | None, typer.Option("--from", help="The first day, as 2027-01-31 or 31.01.2027; today without it.")
]


_HEADINGS = ("monthly", "one-off", "term", "notice", "renewal", "")


@app.command("list")
def show(
    at: Annotated[str | None, typer.Option(help="On this day, as 2027-01-31 or 31.01.2027; today without it.")] = None,
) -> None:
    """List all products with net prices, and trunk products with contract terms in months.

    Also lists the prices that are set for later days.
    """
    table = Table("product", "name", box=None)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    planned = Table("product", "from", box=None)
    for heading in _HEADINGS:
        planned.add_column(heading, justify="right")
    with open_database() as database, database.transaction() as session:
        now = midday(typed_day("--at", at)) if at is not None else database.now()
        for product in price_list(session, now).values():
            sold = "" if product.orderable else "not sold"
            amounts = (_euros(product.monthly_cents), _euros(product.one_off_cents))
            cells = (product.key, product.name_en, *amounts, *_months(product, product.kind), sold)
            table.add_row(*map(escape, cells), style="" if product.orderable else "dim")
        for price in planned_prices(session, now):
            sold = "" if price.orderable else "not sold"
            amounts = (_euros(price.monthly_cents), _euros(price.one_off_cents))
            months = _months(price, all_products(session)[price.product_key].kind)
            planned.add_row(price.product_key, price.valid_from.isoformat(), *amounts, *months, sold)
    out.print(table)
    if planned.row_count:
        out.print(planned)


@app.command("set")
def change(
    key: KeyArgument,
    monthly: Annotated[str | None, typer.Option(help=_AMOUNT_HELP, metavar="EUROS")] = None,
    one_off: Annotated[str | None, typer.Option(help=_AMOUNT_HELP, metavar="EUROS")] = None,
    term: TermOption = None,
    notice: NoticeOption = None,
    renewal: RenewalOption = None,
    first_day: DayOption = None,
) -> None:
    """Set prices and contract terms of a product from a day on; a withdrawn product is sold again from that day.

    Prices and terms apply to orders from that day on. Contracts and earlier orders keep their prices and terms, offers
    keep their prices. New versions of the program do not change what was set. Safe to run twice.
    """
    typed = (_cents("--monthly", monthly), _cents("--one-off", one_off))
    with open_database() as database, database.transaction() as session:
        day = _day(database, first_day)
        product = _product(session, key, day)
        monthly_cents, one_off_cents = (
            given if given is not None else before
            for given, before in zip(typed, (product.monthly_cents, product.one_off_cents), strict=True)
        )
        facts = {"monthly_cents": monthly_cents, "one_off_cents": one_off_cents}
        terms = _terms(product, term, notice, renewal)
        is_new = _set(database, session, key, day, AuditEvent.PRICE_SET, terms, orderable=True, **facts)
        is_deliverable = all_products(session)[key].orderable
        later = _later(session, key, day)
    words = f"{_euros(monthly_cents)} a month and {_euros(one_off_cents)} once"
    out.print(f"{key} costs {words} from {day}{'' if is_new else ', as was set already'}.", highlight=False)
    if product.kind is ProductKind.TRUNK:
        out.print(f"Its contracts have {_terms_in_words(terms)}.", highlight=False)
    if not is_deliverable:
        out.print("It is not sold all the same: this version of the program does not deliver it.", highlight=False)
    _say_later(key, later)


@app.command()
def withdraw(key: KeyArgument, first_day: DayOption = None) -> None:
    """Stop selling a product from a day on. Contracts and orders that contain it keep it. Safe to run twice.

    `prices set` makes it available again.
    """
    with open_database() as database, database.transaction() as session:
        day = _day(database, first_day)
        product = _product(session, key, day)
        facts = {"monthly_cents": product.monthly_cents, "one_off_cents": product.one_off_cents}
        deed = AuditEvent.PRODUCT_WITHDRAWN
        is_new = _set(database, session, key, day, deed, product.terms, orderable=False, **facts)
        later = _later(session, key, day)
    out.print(f"{key} is not sold from {day}{'' if is_new else ', as was set already'}.", highlight=False)
    _say_later(key, later)


def _set(
    database: Database,
    session: Session,
    key: str,
    day: date,
    deed: AuditEvent,
    terms: ContractTerms,
    *,
    orderable: bool,
    **cents: int,
) -> bool:
    """Set a product's prices, contract terms and whether it is sold (`orderable`), from the day `day` on.

    `key` is the product's key, `cents` are `monthly_cents` and `one_off_cents`. Return whether this changes what was
    set before; if so, the change is recorded in the audit log as the event `deed`. Ends the command with a message if
    the day is in the past.
    """
    try:
        is_new = set_price(session, key, day, database.now(), orderable=orderable, terms=terms, **cents)
    except InvalidField:
        refuse(f"--from: {day} is over. Its orders have their prices; the earliest day is today.")
    if is_new:
        facts = {"product": key, "day": day.isoformat(), **cents}
        if all_products(session)[key].kind is ProductKind.TRUNK:
            facts |= asdict(terms)
        record_of_carrier(session, None, deed, database.now(), facts)
    return is_new


def _terms(product: Product, term: int | None, notice: int | None, renewal: int | None) -> ContractTerms:
    """Return the product's contract terms, with the typed values in place of the present ones.

    `term`, `notice` and `renewal` are the typed numbers of months, None if not typed. Ends the command with a message
    if a value was typed and the product is no trunk.
    """
    typed = {"term_months": term, "notice_months": notice, "renewal_months": renewal}
    given = {name: months for name, months in typed.items() if months is not None}
    if given and product.kind is not ProductKind.TRUNK:
        refuse(f"{escape(product.key)} is no trunk: a contract has the terms of its trunk, so set them there.")
    return replace(product.terms, **given)


def _terms_in_words(terms: ContractTerms) -> str:
    first = f"a first term of {terms.term_months} months" if terms.term_months else "no first term"
    after = f"an extension by {terms.renewal_months} months" if terms.renewal_months else "no fixed extension"
    return f"{first}, a notice period of {terms.notice_months} month(s) and {after}"


def _months(row: HasTerms, kind: ProductKind) -> tuple[str, str, str]:
    if kind is not ProductKind.TRUNK:
        return ("", "", "")
    return (str(row.term_months), str(row.notice_months), str(row.renewal_months))


def _later(session: Session, key: str, day: date) -> list[date]:
    """Return the days after `day` from which other prices of the product are set."""
    return [row.valid_from for row in planned_prices(session, midday(day)) if row.product_key == key]


def _say_later(key: str, later: list[date]) -> None:
    if later:
        out.print(f"What was set for {key} before stays: from {', '.join(map(str, later))}.", highlight=False)


def _day(database: Database, typed: str | None) -> date:
    return typed_day("--from", typed) if typed is not None else berlin_day(database.now())


def _product(session: Session, key: str, day: date) -> Product:
    """Return the product with its prices on the day `day`; end the command with a message if the key is unknown."""
    products = price_list(session, midday(day))
    if key not in products:
        refuse(f"There is no product {escape(key)}. There are: {', '.join(products)}.")
    return products[key]


def _cents(option: str, typed: str | None) -> int | None:
    if typed is None:
        return None
    found = _AMOUNT.fullmatch(typed.strip())
    if found is None:
        refuse(f"{option} is an amount in euros, such as 9.90, not {escape(typed)!r}.")
    return int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0"))


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02} €"
