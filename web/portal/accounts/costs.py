"""The page that shows what each location costs in a month, and its download as CSV or Excel file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal

from flask import Response, abort, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import login_required

from models.accounts.accounts import Account
from models.calendar_days import Month, berlin_day
from models.contracts.catalogue import all_products
from models.contracts.costs import VAT_PERCENT, Amount
from models.contracts.monthly_costs import Charge, LineChange, changes_in
from models.db.paging import BadCursor
from models.errors import InvalidField
from models.text_cutting import shortened
from models.views.account_costs import (
    EARLIEST,
    AccountCosts,
    costs_page,
    latest_month,
    month_asked_for,
    total_costs,
)
from tasks.files import exported_tables
from tasks.files.exported_tables import EXPORT_PAGE
from tasks.wording.formats import month_text
from web.portal.page.blueprints import locations
from web.portal.page.downloads import export_file
from web.portal.page.locale import calendar_day, locale
from web.portal.page.selected_account import selected_account
from web.portal.telephony.inventory import TABLES
from web.resources import resources

PAGE = 50
_LONGEST = 100
_CHOICES_BACK = 24
"""How many months before the present one the list of months begins; the page has links to earlier months."""


@locations.get("/kosten")
@login_required
def costs() -> str:
    """Show one page of what the selected account and its sub-accounts cost in a month, sorted by customer number.

    The query parameters are `monat` (the month, such as 2026-11; the current month without it), `suche` (a search text)
    and `nach` (the cursor of the page). Abort with 404 if no account is selected, or if the month or the cursor is
    invalid.
    """
    month, search, after = _month(), _search(), request.args.get("nach") or None
    try:
        with resources().database.transaction() as database:
            seen = selected_account(database)
            if seen.account is None:
                abort(404)
            page = costs_page(database, seen.account, month, search, after=after, limit=PAGE)
            total = total_costs(database, seen.account, month, search)
            names = {key: product.name(locale()) for key, product in all_products(database).items()}
    except BadCursor:
        abort(404)
    today = berlin_day(resources().clock())
    latest = latest_month(resources().clock())
    return render_template(
        "accounts/costs.html",
        tables=TABLES,
        konto=seen.konto,
        month=month,
        months=_months(month, today, latest),
        month_name=_name,
        earlier=month.later(-1) if month > EARLIEST else None,
        later=month.later(1) if month < latest else None,
        has_begun=month.first <= today,
        has_ended=month.after <= today,
        today=today,
        page=page,
        total=total,
        names=names,
        VAT_PERCENT=VAT_PERCENT,
        change_text=change_text,
        search=search,
        first=after is None,
        address=lambda endpoint="locations.costs", **more: url_for(
            endpoint, **{"konto": seen.konto, "monat": str(month), "suche": search or None, **more}
        ),
    )


@locations.get("/kosten/export.<any(csv, xlsx):form>")
@login_required
def costs_export(form: str) -> Response:
    """Download the costs of a month as CSV or Excel file, with a row for each contract line; `form` is "csv" or "xlsx".

    The query parameters are those of the page of the costs: `monat` (the month) and `suche` (a search text). The file
    has all accounts that match the search. Abort with 404 if no account is selected or the month is invalid.
    """
    month = _month()
    with resources().database.transaction() as database:
        account = selected_account(database).account
        names = {key: product.name(locale()) for key, product in all_products(database).items()}
    if account is None:
        abort(404)
    name = f"kosten-{account.customer_number}-{month}"
    return export_file(_rows(account, month, _search(), names), form, name, _("Costs"), account.id)


def change_text(change: LineChange) -> str:
    """Return a text that says from which day a line of a contract runs, or no longer runs: "new from 1 March 2026"."""
    day = calendar_day(change.day)
    return str(_("new from %(day)s", day=day) if change.begins else _("no longer from %(day)s", day=day))


def _month() -> Month:
    try:
        return month_asked_for(request.args.get("monat") or None, resources().clock())
    except InvalidField:
        abort(404)


def _search() -> str:
    return shortened(request.args.get("suche", "").strip(), _LONGEST)


def _name(month: Month) -> str:
    return month_text(month, locale())


def _months(chosen: Month, today: date, latest: Month) -> list[Month]:
    """Return the months that the page offers, in order: from 24 months before the month of `today` to `latest`.

    The month `chosen` is always among them, even if it is earlier.
    """
    first = Month.of(today).later(-_CHOICES_BACK)
    offered = [first]
    while offered[-1] < latest:
        offered.append(offered[-1].later(1))
    return sorted({*offered, chosen})


def _rows(
    account: Account, month: Month, search: str, names: Mapping[str, str]
) -> Iterator[list[exported_tables.Cell]]:
    """Yield the rows of the exported table of the month's costs of a main account and its sub-accounts.

    These are the headings, a row for each contract line of the accounts that match `search`, and three rows with the
    sums: net, the VAT, and gross. `names` has the products' names by product key. Reads each page of accounts in
    a transaction of its own.
    """
    yield [
        _("Customer number"), _("Name"), _("City"), _("Product"), _("First day"), _("Last day"), _("Days"),
        _("Monthly price, net"), _("Share of the month, net"), _("One-off, net"), _("Together, net"), _("Changes"),
    ]  # fmt: skip
    after: str | None = None
    net = 0
    while True:
        # One transaction per page, so that a slow download does not keep a transaction open.
        with resources().database.transaction() as database:
            page = costs_page(database, account, month, search, after=after, limit=EXPORT_PAGE)
        for item in page.items:
            net += item.net
            for charge in item.charges:
                yield _row(item, charge, names)
        after = page.after
        if after is None:
            break
    total = Amount(net)
    for what, cents in (
        (_("Together, net"), total.net),
        (_("plus %(percent)s %% VAT", percent=VAT_PERCENT), total.vat),
        (_("Gross"), total.gross),
    ):
        yield [what, *[""] * 9, _euros(cents), ""]


def _row(item: AccountCosts, charge: Charge, names: Mapping[str, str]) -> list[exported_tables.Cell]:
    today = berlin_day(resources().clock())
    changes = [
        _("%(what)s (planned)", what=change_text(change)) if change.day > today else change_text(change)
        for change in changes_in([charge.line], charge.month)
    ]
    return [
        item.account.customer_number,
        item.account.name,
        item.account.city,
        names[charge.line.price.product_key],
        charge.first if charge.days else "",
        charge.last if charge.days else "",
        len(charge.days),
        _euros(charge.line.price.monthly_cents),
        _euros(charge.monthly_cents),
        _euros(charge.one_off_cents),
        _euros(charge.net),
        ", ".join(changes),
    ]


def _euros(cents: int) -> Decimal:
    return Decimal(cents) / 100
