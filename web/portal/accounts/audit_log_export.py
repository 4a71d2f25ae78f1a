"""The download of an account's audit log as CSV or Excel file, with the entries that the user may see."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response
from flask_babel import gettext as _
from flask_login import login_required

from models.accounts.accounts import Account
from models.calendar_days import BERLIN, berlin_day
from models.people.audit_log import AttributedEntry, LogPart, sees_log, visible_entries
from models.people.rights import Action
from tasks.files import exported_tables
from tasks.files.exported_tables import EXPORT_PAGE
from web.portal.accounts.audit_log_text import chosen_part, deed_text
from web.portal.page.account_access import ensure_right, get_visible_account
from web.portal.page.blueprints import locations
from web.portal.page.downloads import export_file
from web.portal.page.login_session import principal
from web.resources import resources


@locations.get("/<string(length=7):customer_number>/protokoll/export.<any(csv, xlsx):form>")
@login_required
def export_log(customer_number: str, form: str) -> Response:
    """Download the audit log of an account, newest entries first, one row for each; `form` is "csv" or "xlsx".

    A user who sees the account only by a role in its main account gets only the actions done by such a role. The query
    parameter `teil` chooses a part of the log, as on the page of the log. Abort with 404 if the user may not see the
    account or its log, or if there is no such part.
    """
    part = chosen_part()
    with resources().database.transaction() as database:
        account = get_visible_account(database, customer_number).account
        if not sees_log(principal(), account):
            ensure_right(account, Action.SEE_LOG)
    name = f"protokoll-{customer_number}-{berlin_day(resources().clock())}"
    return export_file(_rows(account, part), form, name, _("Log"), account.id)


def _rows(account: Account, part: LogPart | None) -> Iterator[list[exported_tables.Cell]]:
    """Yield the rows of the file: the headings, and a row for each audit entry of the account that the user may see.

    `part` is the part of the log to read; None for all of it.
    """
    yield [_("Time"), _("Person"), _("Through main account"), _("Action"), _("What was done")]
    before: int | None = None
    while True:
        # One transaction per page, so that a slow download does not keep a transaction open.
        with resources().database.transaction() as database:
            page = visible_entries(database, principal(), account, before=before, limit=EXPORT_PAGE, part=part)
        yield from map(_row, page)
        if len(page) < EXPORT_PAGE:
            return
        before = page[-1].entry.id


def _row(told: AttributedEntry) -> list[exported_tables.Cell]:
    person = _("Our customer service") if told.entry.by_staff else told.user.name if told.user is not None else ""
    return [
        told.entry.at.astimezone(BERLIN).isoformat(sep=" ", timespec="seconds"),
        person,
        told.through.customer_number if told.through is not None else "",
        str(told.entry.deed),
        deed_text(told.entry),
    ]
