"""The pages that list the numbers, trunks or contracts of all locations in a searchable table, and their downloads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Response, abort, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.db.paging import BadCursor, Page
from models.people.rights import Action, may
from models.telephony import inventory
from models.telephony.trunks import SipTrunk, TrunkState
from models.text_cutting import shortened
from tasks.files import exported_tables
from tasks.files.exported_tables import EXPORT_PAGE
from tasks.ports import SipAddress
from web.portal.page.blueprints import locations
from web.portal.page.downloads import export_file
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.money import euros
from web.portal.page.selected_account import selected_account
from web.resources import resources
from web.telephone_network import NetworkAway

Registered = Collection[SipAddress] | None

PAGE = 50
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Table:
    """One of the tables: phone numbers, SIP trunks or contracts of the main account and its sub-accounts.

    `title`, `search` and `hint` are the texts of the page, of its search field and of the help for that field.
    `columns` returns the headings. `read` returns a page of rows, given the session, the main account, the search text,
    the cursor (None: first page) and the page size. `cells` returns the formatted cells of a row, given the row and the
    SIP addresses that have a registration (None: not known), which only the table of trunks uses. Each row of the page
    begins with the account's customer number, name and city; `columns` and `cells` leave these out.
    """

    title: Any
    search: Any
    hint: Any
    columns: Callable[[], list[str]]
    read: Callable[[Session, Account, str, str | None, int], Page[Any]]
    cells: Callable[[Any, Registered], list[str]]


def _numbers(session: Session, main: Account, search: str, after: str | None, limit: int) -> Page[Any]:
    return inventory.numbers_of(session, main, search, after=after, limit=limit)


def _trunks(session: Session, main: Account, search: str, after: str | None, limit: int) -> Page[Any]:
    return inventory.trunks_of(session, main, search, after=after, limit=limit)


def _contracts(session: Session, main: Account, search: str, after: str | None, limit: int) -> Page[Any]:
    return inventory.contracts_of(session, main, resources().clock(), search, after=after, limit=limit)


def _number_cells(item: inventory.ListedNumbers, _registered: Registered) -> list[str]:
    return [item.block.display, str(item.block.size), item.sip_user or ""]


def _trunk_cells(item: inventory.ListedTrunk, registered: Registered) -> list[str]:
    trunk = item.trunk
    return [trunk.sip_user, trunk.domain, str(trunk.channels), _trunk_state(trunk, registered)]


def _trunk_state(trunk: SipTrunk, registered: Registered) -> str:
    if trunk.state is TrunkState.SUSPENDED:
        return str(_("Suspended"))
    if registered is None:
        return str(_("Line set up"))
    if (trunk.sip_user, trunk.domain) in registered:
        return str(_("Line set up, phone system registered"))
    return str(_("Line set up, no phone system registered"))


def _registered(kind: str, account: Account, page: Page[Any]) -> Registered:
    """Return the SIP addresses (SIP user and domain) of the page's trunks that have a registration; None if not known.

    `kind` is the key of the table. Only for "trunks" is the telephone network asked, with one query. None if no network
    is configured, if it does not answer, or if the user may not see calls. Call this outside a transaction.
    """
    network = resources().network
    if kind != "trunks" or network is None or not may(principal(), Action.SEE_CALLS, account):
        return None
    try:
        return network.registered([(item.trunk.sip_user, item.trunk.domain) for item in page.items])
    except NetworkAway:
        return None


def _contract_cells(item: inventory.ListedContract, _registered: Registered) -> list[str]:
    products = ", ".join(product.name(locale()) for _item, product in item.items)
    return [products, f"{berlin_day(item.contract.started_at):%d.%m.%Y}", euros(item.monthly_cents)]


TABLES = {
    "rufnummern": Table(
        lazy_gettext("Phone numbers"),
        lazy_gettext("Search for numbers or locations"),
        lazy_gettext(
            "Any part of a number, in any spelling, or words of the location: 030 / 123-45, +49 30 12345, Köln."
        ),
        lambda: [_("Phone numbers"), _("Count"), _("SIP user")],
        _numbers,
        _number_cells,
    ),
    "trunks": Table(
        lazy_gettext("SIP trunks"),
        lazy_gettext("Search for SIP users or locations"),
        lazy_gettext("Any part of the SIP user, the customer number, the name or the address."),
        lambda: [_("SIP user"), _("Registrar (domain)"), _("Channels"), _("Status")],
        _trunks,
        _trunk_cells,
    ),
    "vertraege": Table(
        lazy_gettext("Contracts"),
        lazy_gettext("Search for products or locations"),
        lazy_gettext("Any part of the product, the customer number, the name or the address."),
        lambda: [_("Products"), _("Since"), _("per month, net")],
        _contracts,
        _contract_cells,
    ),
}
_KINDS = "any(" + ", ".join(TABLES) + ")"


@locations.get(f"/<{_KINDS}:kind>")
@login_required
def table(kind: str) -> str:
    """Show one page of the table `kind` (a key of `TABLES`), filtered by the search text in the URL (`suche`).

    The rows are sorted by customer number. `nach` in the URL is the cursor of the page. Abort with 404 if no account is
    selected or the cursor is invalid.
    """
    search, after = _search(), request.args.get("nach") or None
    account, konto = _looked_at()
    try:
        with resources().database.transaction() as database:
            page = TABLES[kind].read(database, account, search, after, PAGE)
    except BadCursor:
        abort(404)
    registered = _registered(kind, account, page)
    return render_template(
        "telephony/inventory/table.html",
        registered=registered,
        kind=kind,
        tables=TABLES,
        table=TABLES[kind],
        page=page,
        konto=konto,
        search=search,
        first=after is None,
        address=lambda endpoint="locations.table", **more: url_for(
            endpoint, **{"kind": kind, "konto": konto, "suche": search or None, **more}
        ),
    )


@locations.get(f"/<{_KINDS}:kind>/export.<any(csv, xlsx):form>")
@login_required
def table_export(kind: str, form: str) -> Response:
    """Download all rows of the table `kind` (a key of `TABLES`) that the search finds; `form` is "csv" or "xlsx".

    Abort with 404 if no account is selected.
    """
    account, _konto = _looked_at()
    name = f"{kind}-{account.customer_number}-{berlin_day(resources().clock())}"
    return export_file(_rows(kind, account, _search()), form, name, str(TABLES[kind].title), account.id)


def _looked_at() -> tuple[Account, str | None]:
    with resources().database.transaction() as database:
        seen = selected_account(database)
    if seen.account is None:
        abort(404)
    return seen.account, seen.konto


def _search() -> str:
    return shortened(request.args.get("suche", "").strip(), _LONGEST)


def _rows(kind: str, account: Account, search: str) -> Iterator[list[exported_tables.Cell]]:
    chosen, after = TABLES[kind], None
    yield [_("Customer number"), _("Name"), _("City"), *chosen.columns()]
    while True:
        # One transaction per page, so that a slow download does not keep a transaction open.
        with resources().database.transaction() as database:
            page = chosen.read(database, account, search, after, EXPORT_PAGE)
        registered = _registered(kind, account, page)
        for item in page.items:
            yield [item.account.customer_number, item.account.name, item.account.city, *chosen.cells(item, registered)]
        after = page.after
        if after is None:
            return
