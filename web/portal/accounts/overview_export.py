"""The download of the overview as CSV or Excel file: the main account and its sub-accounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from flask import Response, abort
from flask_babel import gettext as _
from flask_login import login_required

from models.accounts.accounts import Account
from models.calendar_days import berlin_day, last_day
from models.views import locations as listing
from tasks.files import exported_tables
from tasks.files.exported_tables import EXPORT_PAGE
from tasks.wording.labels import status_text
from web.portal.accounts.list_filters import read_filters
from web.portal.accounts.overview import kind_label, origin_label, standing_label
from web.portal.accounts.registrations import addresses_to_ask, ask_network, offline_accounts
from web.portal.page.blueprints import locations
from web.portal.page.downloads import export_file
from web.portal.page.locale import locale
from web.portal.page.selected_account import selected_account
from web.resources import resources


@locations.get("/export.<any(csv, xlsx):form>")
@login_required
def export(form: str) -> Response:
    """Download the selected account and its sub-accounts as CSV or Excel file; `form` is "csv" or "xlsx".

    The file has the sub-accounts that match the filters in the URL. Asks the telephone network which trunks are
    registered, because one of the filters needs it. Abort with 404 if no account is selected.
    """
    wanted = read_filters()
    with resources().database.transaction() as database:
        account = selected_account(database).account
        if account is None:
            abort(404)
        leads = wanted.is_narrowed or listing.count_of(database, account, wanted) > 0
        trunks = addresses_to_ask(database, account, all_of_them=True)
    offline = offline_accounts(ask_network(trunks))
    with resources().database.transaction() as database:
        own = listing.own_requests(database, account)
        itself = listing.listed_itself(database, account, own, offline=offline)
    name = f"standorte-{account.customer_number}-{berlin_day(resources().clock())}"
    rows = _rows(itself, wanted, kind_label(account, leads=leads), offline)
    return export_file(rows, form, name, _("Locations"), account.id)


def _rows(
    itself: listing.ListedAccount, wanted: listing.LocationFilter, kind: str, offline: Sequence[int]
) -> Iterator[list[exported_tables.Cell]]:
    """Yield the headings, the row of the main account `itself`, and the rows of its sub-accounts that match `wanted`.

    `kind` is the main account's kind in words. `offline` has the ids of the accounts that have a trunk at which no
    phone system is registered.
    """
    yield [
        _("Customer number"), _("Kind"), _("Name"), _("Contact"), _("Street"), _("Postal code"), _("City"),
        _("Status"), _("Origin"), _("Attached since"), _("Waits until"), _("Tags"),
    ]  # fmt: skip
    yield _row(itself, kind)
    for items in _pages(itself.account, wanted, offline):
        for item in items:
            yield _row(item, kind_label(item.account, listed=True))


def _pages(
    account: Account, wanted: listing.LocationFilter, offline: Sequence[int]
) -> Iterator[list[listing.ListedAccount]]:
    # One transaction per page, so that a slow download does not keep a transaction open.
    after: str | None = None
    while True:
        with resources().database.transaction() as database:
            page = listing.page_of(database, account, wanted, after=after, limit=EXPORT_PAGE, offline=offline)
        yield list(page.items)
        after = page.after
        if after is None:
            return


def _row(item: listing.ListedAccount, kind: str) -> list[exported_tables.Cell]:
    account, found = item.account, item.request
    return [
        account.customer_number,
        kind,
        account.name,
        account.contact_name,
        account.street,
        account.postal_code,
        account.city,
        status_text(found.status, locale()) if found is not None else standing_label(item),
        origin_label(account.origin),
        _day(account.attached_at),
        last_day(found.waiting_until) if found is not None and found.waiting_until is not None else "",
        ", ".join(account.tags or ()),
    ]


def _day(at: datetime | None) -> exported_tables.Cell:
    return berlin_day(at) if at is not None else ""
